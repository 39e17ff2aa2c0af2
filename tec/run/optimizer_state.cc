#include "tec/run/optimizer_state.h"

#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/nn/module_state.h"

namespace tec {

OptimizerState OptimizerStateOf(const AdamW& optimizer, double lr, bool with_lr_scale) {
  OptimizerState result;
  for (const ParameterGroup& group : optimizer.groups()) {
    OptimizerGroup saved;
    saved.lr = lr * group.lr_scale;
    saved.beta1 = optimizer.options().beta1;
    saved.beta2 = optimizer.options().beta2;
    saved.eps = optimizer.options().epsilon;
    saved.weight_decay = group.weight_decay;
    if (with_lr_scale) saved.lr_scale = group.lr_scale;
    saved.num_parameters = static_cast<int64_t>(group.parameters.size());
    result.groups.push_back(saved);
  }
  for (size_t i = 0; i < optimizer.state().size(); ++i) {
    const AdamWState& state = optimizer.state()[i];
    const int64_t step = static_cast<int64_t>(state.step.item<float>());
    if (step == 0) continue;  // As torch.optim, which makes the state at the first update.
    result.moments[static_cast<int64_t>(i)] = {step, ViewOf(state.exp_avg), ViewOf(state.exp_avg_sq)};
  }
  return result;
}

absl::Status LoadOptimizerState(AdamW& optimizer, const OptimizerState& state) {
  const std::vector<ParameterGroup>& groups = optimizer.groups();
  if (state.groups.size() != groups.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the optimizer state has ", state.groups.size(),
                                                   " parameter groups, this run has ", groups.size()));
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    if (state.groups[g].num_parameters != static_cast<int64_t>(groups[g].parameters.size())) {
      return absl::InvalidArgumentError(absl::StrCat("parameter group ", g, " of the optimizer state has ",
                                                     state.groups[g].num_parameters, " parameters, this run's has ",
                                                     groups[g].parameters.size()));
    }
  }
  std::vector<AdamWState> moments;
  for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
    const auto found = state.moments.find(static_cast<int64_t>(i));
    AdamWState one;
    if (found == state.moments.end()) {
      one.step = at::zeros({}, at::kFloat);
      one.exp_avg = at::zeros_like(optimizer.state()[i].exp_avg);
      one.exp_avg_sq = at::zeros_like(optimizer.state()[i].exp_avg_sq);
    } else {
      one.step = at::full({}, static_cast<double>(found->second.step), at::kFloat);
      one.exp_avg = TensorOf(found->second.exp_avg);
      one.exp_avg_sq = TensorOf(found->second.exp_avg_sq);
    }
    moments.push_back(std::move(one));
  }
  return optimizer.LoadState(moments);
}

ReplicatedTensors ReplicasOf(const torch::nn::Module& model, const AdamW& optimizer) {
  ReplicatedTensors replicas = NamedState(model);
  size_t index = 0;
  for (const ParameterGroup& group : optimizer.groups()) {
    for (const std::string& name : group.names) {
      const AdamWState& state = optimizer.state()[index++];
      replicas.emplace_back("step of " + name, state.step);
      replicas.emplace_back("exp_avg of " + name, state.exp_avg);
      replicas.emplace_back("exp_avg_sq of " + name, state.exp_avg_sq);
    }
  }
  return replicas;
}

ScalerState ScalerStateOf(const LossScaler& scaler) {
  const LossScaler::State& state = scaler.state();
  return {state.scale, state.growth_factor, state.backoff_factor, state.growth_interval, state.growth_tracker};
}

LossScaler::State LossScalerStateOf(const ScalerState& state) {
  return {state.scale, state.growth_factor, state.backoff_factor, state.growth_interval, state.growth_tracker};
}

}  // namespace tec
