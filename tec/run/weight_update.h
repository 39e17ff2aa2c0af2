// From losses to changed weights: accumulation over micro-steps, loss scaling, clipping, AdamW. (recipe.md sections 6
// and 13.4)
//
//   for (int64_t i = 0; i < accum_iter; ++i) update.Backward(loss);
//   const UpdateResult result = update.Finish(lr);

#ifndef TEC_RUN_WEIGHT_UPDATE_H_
#define TEC_RUN_WEIGHT_UPDATE_H_

#include <cstdint>
#include <optional>

#include "ATen/core/Tensor.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"

namespace tec {

struct UpdateResult {
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
  };
  // Outlived by `optimizer`.
  WeightUpdate(AdamW& optimizer, const Options& options);

  // Adds the gradient of loss / accum_iter.
  void Backward(const at::Tensor& loss);

  // Clips, updates with learning rate `lr` times each group's scale, drops the gradients. The result's grad_norm is the
  // global L2 norm before clipping, infinite if the scaled loss overflowed; loss_scale is the one that comes next.
  UpdateResult Finish(double lr);

  // Null unless scale_loss.
  LossScaler* scaler() { return scaler_ ? &*scaler_ : nullptr; }
  const LossScaler* scaler() const { return scaler_ ? &*scaler_ : nullptr; }

 private:
  AdamW& optimizer_;
  Options options_;
  std::optional<LossScaler> scaler_;
};

}  // namespace tec

#endif  // TEC_RUN_WEIGHT_UPDATE_H_
