#include "eval/finetune/finetune_step.h"

#include <cmath>

#include "ATen/ATen.h"
#include "tec/losses/losses.h"
#include "tec/nn/autocast.h"

namespace tec {

FinetuneStep::FinetuneStep(FinetuneModel& model, AdamW& optimizer, const FinetuneStepOptions& options)
    : model_(model), optimizer_(optimizer), options_(options) {
  if (options.precision == at::kHalf) scaler_.emplace();
}

at::Tensor FinetuneStep::Loss(const at::Tensor& images, const at::Tensor& targets,
                              const at::Tensor& drop_path_uniforms) {
  AutocastGuard autocast(images.device().type(), options_.precision);
  const at::Tensor logits = model_.forward(images, drop_path_uniforms);
  return targets.is_floating_point() ? SoftTargetCrossEntropy(logits, targets)
                                     : LabelSmoothingCrossEntropy(logits, targets, options_.smoothing);
}

at::Tensor FinetuneStep::Accumulate(const at::Tensor& images, const at::Tensor& targets,
                                    const at::Tensor& drop_path_uniforms) {
  const at::Tensor loss = Loss(images, targets, drop_path_uniforms);
  const at::Tensor share = loss / static_cast<double>(options_.accum_iter);
  (scaler_ ? scaler_->Scale(share) : share).backward();
  return loss.detach();
}

FinetuneStep::Update FinetuneStep::Finish(double lr) {
  const bool overflow = scaler_ && !scaler_->Unscale(optimizer_.parameters());
  Update update;
  update.grad_norm = (options_.clip_grad > 0 ? ClipGradientNorm(optimizer_.parameters(), options_.clip_grad)
                                             : GradientNorm(optimizer_.parameters()))
                         .item<double>();
  update.skipped = overflow || !std::isfinite(update.grad_norm);
  if (!update.skipped) optimizer_.Step(lr);
  if (scaler_) scaler_->Update();
  optimizer_.ZeroGrad();
  return update;
}

}  // namespace tec
