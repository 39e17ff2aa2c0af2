#include "tec/run/weight_update.h"

#include <cmath>
#include <limits>
#include <utility>

#include "ATen/ATen.h"
#include "tec/run/rank_runtime.h"

namespace tec {

WeightUpdate::WeightUpdate(AdamW& optimizer, const Options& options) : optimizer_(optimizer), options_(options) {
  if (options.scale_loss) scaler_.emplace();
  if (options.group == nullptr) return;
  GradientReducer::Options reducer;
  reducer.bfloat16 = Bfloat16Gradients();
  reducer_.emplace(*options.group, optimizer.parameters(), reducer);
}

void WeightUpdate::Backward(const at::Tensor& loss) {
  const at::Tensor share = loss / static_cast<double>(options_.accum_iter);
  if (++micro_steps_ == options_.accum_iter && reducer_) reducer_->Arm();
  (scaler_ ? scaler_->Scale(share) : share).backward();
}

absl::Status WeightUpdate::AverageOverRanks() { return reducer_ ? reducer_->Wait() : absl::OkStatus(); }

UpdateResult WeightUpdate::Finish(double lr) {
  const std::vector<at::Tensor>& parameters = optimizer_.parameters();
  UpdateResult result;
  if (!scaler_ || scaler_->Unscale(parameters)) {
    const at::Tensor norm =
        options_.clip_grad > 0 ? ClipGradientNorm(parameters, options_.clip_grad) : GradientNorm(parameters);
    optimizer_.Step(lr, NotFinite(norm));
    result.norms.push_back(norm);
  } else {
    result.grad_norm = std::numeric_limits<double>::infinity();
    result.skipped = true;
  }
  if (scaler_) {
    // Unscale has waited already.
    result.Read();
    scaler_->Update();
    result.loss_scale = scaler_->state().scale;
  }
  optimizer_.ZeroGrad();
  micro_steps_ = 0;
  return result;
}

UpdateResult& UpdateResult::Read() {
  for (const at::Tensor& of_one : std::exchange(norms, {})) {
    const double norm = of_one.item<double>();
    if (!grad_norm || !std::isfinite(norm)) grad_norm = norm;
    skipped = skipped || !std::isfinite(norm);
  }
  return *this;
}

}  // namespace tec
