// From losses to changed weights: accumulation over micro-steps, loss scaling, means over ranks, clipping, AdamW.
// (recipe.md sections 6 and 13.4)
//
//   for (int64_t i = 0; i < accum_iter; ++i) update.Backward(loss);
//   TEC_RETURN_IF_ERROR(update.AverageOverRanks());
//   UpdateResult result = update.Finish(lr);
//   ...                                         // What else the device can be given to do.
//   result.Read();

#ifndef TEC_RUN_WEIGHT_UPDATE_H_
#define TEC_RUN_WEIGHT_UPDATE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "tec/dist/gradient_reducer.h"
#include "tec/dist/process_group.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"

namespace tec {

struct UpdateResult {
  // What the device has yet to say, 0-dim: the gradients' norms of all that the update has changed.
  std::vector<at::Tensor> norms;
  // Waits for them and sets what follows: the first one is grad_norm, if none is not finite.
  UpdateResult& Read();

  std::optional<double> grad_norm;
  bool skipped = false;  // The gradient was not finite and no weight has changed.
  // With loss scaling, where a skipped update is in order now and then; without it is the end of the run.
  std::optional<double> loss_scale;
};

class WeightUpdate {
 public:
  struct Options {
    int64_t accum_iter = 1;
    double clip_grad = 0;     // Largest global gradient norm; 0: none.
    bool scale_loss = false;  // For float16.
    // The ranks that share an update; null: this one alone. Outlives this.
    ProcessGroup* group = nullptr;
  };
  // Outlived by `optimizer`.
  WeightUpdate(AdamW& optimizer, const Options& options);

  // Adds the gradient of loss / accum_iter. In an update's last micro-step, the accum_iter-th call, the gradients
  // travel to the other ranks meanwhile.
  void Backward(const at::Tensor& loss);

  // Waits till the gradients are means over the ranks. Errors, the group's, leave weights and optimiser as they were.
  absl::Status AverageOverRanks();

  // Clips, updates with learning rate `lr` times each group's scale, drops the gradients. The result's grad_norm is the
  // global L2 norm before clipping, infinite if the scaled loss overflowed; loss_scale is the one that comes next.
  // Without loss scaling nothing waits for the device, and the result is still to be read.
  UpdateResult Finish(double lr);

  // Null unless scale_loss.
  LossScaler* scaler() { return scaler_ ? &*scaler_ : nullptr; }
  const LossScaler* scaler() const { return scaler_ ? &*scaler_ : nullptr; }

 private:
  AdamW& optimizer_;
  Options options_;
  std::optional<LossScaler> scaler_;
  std::optional<GradientReducer> reducer_;
  int64_t micro_steps_ = 0;  // Of this update.
};

}  // namespace tec

#endif  // TEC_RUN_WEIGHT_UPDATE_H_
