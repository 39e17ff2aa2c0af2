#include "eval/finetune/weight_average.h"

#include "ATen/core/grad_mode.h"
#include "ATen/ops/_foreach_copy.h"
#include "ATen/ops/_foreach_lerp.h"
#include "tec/base/logging.h"
#include "tec/nn/module_state.h"
#include "tec/nn/working_copy.h"

namespace tec {

WeightAverage::WeightAverage(const torch::nn::Module& model, const torch::nn::Module& averaged, double decay)
    : decay_(decay) {
  TEC_CHECK(decay >= 0 && decay < 1) << decay;
  const NamedTensors from = NamedState(model), to = NamedState(averaged);
  TEC_CHECK_EQ(from.size(), to.size());
  for (size_t i = 0; i < from.size(); ++i) {
    TEC_CHECK(from[i].first == to[i].first && from[i].second.sizes() == to[i].second.sizes() &&
              to[i].second.scalar_type() == at::kFloat)
        << from[i].first << " and " << to[i].first;
    weights_.push_back(from[i].second.detach());
    average_.push_back(to[i].second.detach());
  }
  Reset();
}

void WeightAverage::Reset() {
  at::NoGradGuard no_gradient;
  at::_foreach_copy_(average_, weights_);
  for (const at::Tensor& tensor : average_) CountChange(tensor);
}

void WeightAverage::Update() {
  at::NoGradGuard no_gradient;
  // average + (1 - decay) * (model - average): decay and 1 - decay, rounded to float32 each, would not add up to 1, and
  // with 0.9999 the average would end 2e-4 too small.
  at::_foreach_lerp_(average_, weights_, 1 - decay_);
  for (const at::Tensor& tensor : average_) CountChange(tensor);
}

}  // namespace tec
