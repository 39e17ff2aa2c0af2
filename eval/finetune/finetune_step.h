// One step of finetuning on given tensors: loss, backward, clipping, update. (recipe.md sections 13.2 and 13.4)
//
//   for (int64_t i = 0; i < accum_iter; ++i) loss = step.Accumulate(images, labels, uniforms);
//   FinetuneStep::Update update = step.Finish(lr);

#ifndef TEC_EVAL_FINETUNE_FINETUNE_STEP_H_
#define TEC_EVAL_FINETUNE_FINETUNE_STEP_H_

#include <cstdint>
#include <optional>

#include "ATen/core/Tensor.h"
#include "tec/models/encoder.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"

namespace tec {

struct FinetuneStepOptions {
  int64_t accum_iter = 1;
  double smoothing = 0;                   // Of labels; soft targets carry their own.
  double clip_grad = 0;                   // Largest global gradient norm; 0: none.
  at::ScalarType precision = at::kFloat;  // kFloat, kBFloat16, or kHalf (CUDA only), which scales the loss.
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

  struct Update {
    double grad_norm = 0;  // Global L2 norm, before clipping.
    bool skipped = false;  // The gradient was not finite: no parameter has changed. With float16 that is in order now
                           // and then, and the loss scale has been lowered.
  };
  // Clips, updates with learning rate `lr` times each group's scale, drops the gradients.
  Update Finish(double lr);

  // Null unless the precision is float16.
  LossScaler* scaler() { return scaler_ ? &*scaler_ : nullptr; }
  const FinetuneStepOptions& options() const { return options_; }

 private:
  FinetuneModel& model_;
  AdamW& optimizer_;
  FinetuneStepOptions options_;
  std::optional<LossScaler> scaler_;
};

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_STEP_H_
