#include "eval/finetune/finetune_step.h"

#include "ATen/ATen.h"
#include "tec/losses/losses.h"
#include "tec/nn/autocast.h"

namespace tec {

FinetuneStep::FinetuneStep(FinetuneModel& model, AdamW& optimizer, const FinetuneStepOptions& options)
    : model_(model),
      options_(options),
      update_(optimizer,
              {options.accum_iter, options.clip_grad, /*scale_loss=*/options.precision == at::kHalf, options.group}) {}

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
  update_.Backward(loss);
  return loss.detach();
}

}  // namespace tec
