// One step of finetuning on given tensors: loss, backward, clipping, update. (recipe.md sections 13.2 and 13.4)
//
//   for (int64_t i = 0; i < accum_iter; ++i) loss = step.Accumulate(images, labels, uniforms);
//   TEC_RETURN_IF_ERROR(step.AverageOverRanks());
//   UpdateResult update = step.Finish(lr);

#ifndef TEC_EVAL_FINETUNE_FINETUNE_STEP_H_
#define TEC_EVAL_FINETUNE_FINETUNE_STEP_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "tec/dist/process_group.h"
#include "tec/models/encoder.h"
#include "tec/optim/adamw.h"
#include "tec/run/weight_update.h"

namespace tec {

struct FinetuneStepOptions {
  int64_t accum_iter = 1;
  double smoothing = 0;                   // Of labels; soft targets carry their own.
  double clip_grad = 0;                   // Largest global gradient norm; 0: none.
  at::ScalarType precision = at::kFloat;  // kFloat, kBFloat16, or kHalf (CUDA only), which scales the loss.
  ProcessGroup* group = nullptr;          // The ranks that share an update; null: this one alone.
};

class FinetuneStep {
 public:
  // Both outlive the step. The optimiser's groups are the model's parameters.
  FinetuneStep(FinetuneModel& model, AdamW& optimizer, const FinetuneStepOptions& options);

  // images: float32 [N, c, S, S], normalised. targets: int64 [N] labels, or float32 [N, classes] soft targets (of
  // mixing). drop_path_uniforms: as FinetuneModel::forward. -> 0-dim float32.
  at::Tensor Loss(const at::Tensor& images, const at::Tensor& targets, const at::Tensor& drop_path_uniforms);

  // Adds the gradient of Loss() / accum_iter. Returns the loss, detached and not divided.
  at::Tensor Accumulate(const at::Tensor& images, const at::Tensor& targets, const at::Tensor& drop_path_uniforms);

  // As WeightUpdate.
  absl::Status AverageOverRanks() { return update_.AverageOverRanks(); }

  // Clips, updates with learning rate `lr` times each group's scale, drops the gradients (tec/run/weight_update.h).
  UpdateResult Finish(double lr) { return update_.Finish(lr); }

  // Null unless the precision is float16.
  LossScaler* scaler() { return update_.scaler(); }
  const LossScaler* scaler() const { return update_.scaler(); }
  const FinetuneStepOptions& options() const { return options_; }

 private:
  FinetuneModel& model_;
  FinetuneStepOptions options_;
  WeightUpdate update_;
};

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_STEP_H_
