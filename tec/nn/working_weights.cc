#include "tec/nn/working_weights.h"

#include <utility>

#include "ATen/ops/_foreach_copy.h"
#include "ATen/ops/empty_like.h"
#include "c10/core/GradMode.h"
#include "tec/nn/autocast.h"

namespace tec {

void WorkingWeights::Refresh(torch::nn::Module& model) {
  if (linears_.empty()) {
    for (const std::shared_ptr<torch::nn::Module>& module : model.modules(/*include_self=*/false)) {
      if (auto linear = std::dynamic_pointer_cast<Linear>(module)) linears_.push_back(std::move(linear));
    }
  }
  if (linears_.empty()) return;
  const at::Tensor& first = linears_.front()->weight;
  const at::ScalarType type = ProductType(first);
  if (type == first.scalar_type()) return;
  std::vector<Source> sources;
  sources.reserve(2 * linears_.size());
  bool trained = false;
  for (const auto& linear : linears_) {
    trained = trained || linear->weight.requires_grad() || linear->bias.requires_grad();
    for (const at::Tensor* tensor : {&linear->weight, &linear->bias}) {
      sources.push_back({tensor->const_data_ptr(), static_cast<uint32_t>(tensor->_version())});
    }
  }
  const at::Tensor& copy = linears_.front()->low_weight();
  const bool there = copy.defined() && copy.scalar_type() == type && copy.device() == first.device();
  // LibTorch's operations on lists, the fused AdamW among them, change weights and leave their versions.
  if (!trained && there && sources == sources_) return;
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> from, to;
  for (const auto& linear : linears_) {
    // New ones each time: a graph that has not been gone back through keeps what it saw.
    linear->SetWorkingWeights(at::empty_like(linear->weight.detach(), linear->weight.options().dtype(type)),
                              at::empty_like(linear->bias.detach(), linear->bias.options().dtype(type)));
    from.insert(from.end(), {linear->weight.detach(), linear->bias.detach()});
    to.insert(to.end(), {linear->low_weight(), linear->low_bias()});
  }
  at::_foreach_copy_(to, from);
  sources_ = std::move(sources);
}

}  // namespace tec
