#include "tec/optim/lars.h"

#include <utility>

#include "ATen/ATen.h"
#include "c10/core/GradMode.h"

namespace tec {

Lars::Lars(std::vector<ParameterGroup> groups, const LarsOptions& options)
    : groups_(std::move(groups)), options_(options) {
  c10::NoGradGuard no_grad;
  for (const ParameterGroup& group : groups_) {
    for (const at::Tensor& parameter : group.parameters) momentum_.push_back(at::zeros_like(parameter));
  }
}

void Lars::Step(double lr) {
  c10::NoGradGuard no_grad;
  const bool adaptive = options_.trust_coefficient > 0;
  size_t index = 0;
  for (const ParameterGroup& group : groups_) {
    for (at::Tensor parameter : group.parameters) {
      at::Tensor& velocity = momentum_[index++];
      if (!parameter.grad().defined()) continue;
      at::Tensor gradient = parameter.grad();
      const bool rescale = adaptive && parameter.dim() > 1;
      if (group.weight_decay != 0 && (rescale || !adaptive)) {
        gradient = gradient.add(parameter, group.weight_decay);
      }
      if (rescale) {
        const at::Tensor size = parameter.norm(), update = gradient.norm();
        const at::Tensor one = at::ones_like(size);
        gradient =
            gradient * at::where((size > 0).logical_and(update > 0), options_.trust_coefficient * size / update, one);
      }
      velocity.mul_(options_.momentum).add_(gradient);
      parameter.add_(velocity, -lr * group.lr_scale);
    }
  }
}

void Lars::ZeroGrad() {
  for (const ParameterGroup& group : groups_) {
    for (at::Tensor parameter : group.parameters) parameter.mutable_grad().reset();
  }
}

}  // namespace tec
