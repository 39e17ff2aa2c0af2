#include "tec/optim/adamw.h"

#include <sstream>
#include <string>
#include <utility>

#include "ATen/ops/_foreach_add.h"
#include "ATen/ops/rsub.h"
#include "ATen/ops/zeros.h"
#include "ATen/ops/zeros_like.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/working_copy.h"

namespace tec {

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options)
    : groups_(std::move(groups)), options_(options) {
  c10::NoGradGuard no_grad;
  for (const ParameterGroup& group : groups_) {
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      const at::Tensor& parameter = group.parameters[i];
      TEC_CHECK(parameter.is_contiguous())
          << (i < group.names.size() ? group.names[i] : "a parameter") << " is not contiguous";
      parameters_.push_back(parameter);
      state_.push_back({at::zeros({}, parameter.options().requires_grad(false)), at::zeros_like(parameter),
                        at::zeros_like(parameter)});
    }
  }
}

void AdamW::Step(double lr, const at::Tensor& not_finite) {
  c10::NoGradGuard no_grad;
  std::vector<AdamWPart> parts;
  std::vector<at::Tensor> steps;
  size_t index = 0;
  for (const ParameterGroup& group : groups_) {
    for (const at::Tensor& parameter : group.parameters) {
      const AdamWState& state = state_[index++];
      if (!parameter.grad().defined()) continue;
      steps.push_back(state.step);
      parts.push_back({parameter, parameter.grad(), state.exp_avg, state.exp_avg_sq, state.step,
                       CurrentWorkingCopy(parameter), lr * group.lr_scale, group.weight_decay});
    }
  }
  if (parts.empty()) return;
  // The kernel reads the number of the update that it is doing. Of all groups at once.
  if (not_finite.defined()) {
    at::_foreach_add_(steps, at::rsub(not_finite, 1));
  } else {
    at::_foreach_add_(steps, 1);
  }
  UpdateByAdamW(parts, options_, not_finite);
  // Also of an update that the device passes over, which leaves a copy what it was.
  for (const AdamWPart& part : parts) {
    if (part.copy.defined()) {
      WroteWorkingCopy(part.parameter);
    } else {
      CountChange(part.parameter);
    }
  }
}

void AdamW::ZeroGrad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

absl::Status AdamW::LoadState(const std::vector<AdamWState>& state) {
  if (state.size() != state_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the optimiser state is of ", state.size(), " parameters, the model trains ", state_.size()));
  }
  std::vector<std::string> problems;
  size_t index = 0;
  for (const ParameterGroup& group : groups_) {
    for (const std::string& name : group.names) {
      const AdamWState &own = state_[index], &other = state[index];
      ++index;
      const auto compare = [&](const char* what, const at::Tensor& have, const at::Tensor& got) {
        if (got.defined() && got.sizes() == have.sizes()) return;
        std::ostringstream text;
        text << what << " of " << name << " ";
        if (got.defined()) {
          text << "has shape " << got.sizes() << ", not " << have.sizes();
        } else {
          text << "is missing";
        }
        problems.push_back(text.str());
      };
      // A step count may have been written as a number or as a tensor of one element.
      if (!other.step.defined() || other.step.numel() != 1) problems.push_back(absl::StrCat("no step of ", name));
      compare("exp_avg", own.exp_avg, other.exp_avg);
      compare("exp_avg_sq", own.exp_avg_sq, other.exp_avg_sq);
    }
  }
  if (!problems.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("optimiser state: ", absl::StrJoin(problems, "; ")));
  }
  c10::NoGradGuard no_grad;
  for (size_t i = 0; i < state.size(); ++i) {
    state_[i].step.copy_(state[i].step.reshape({}));
    state_[i].exp_avg.copy_(state[i].exp_avg);
    state_[i].exp_avg_sq.copy_(state[i].exp_avg_sq);
  }
  return absl::OkStatus();
}

}  // namespace tec
