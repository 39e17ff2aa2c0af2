#include "tec/nn/working_weights.h"

#include <utility>

#include "ATen/ops/_foreach_copy.h"
#include "ATen/ops/empty_like.h"
#include "c10/core/GradMode.h"
#include "tec/nn/autocast.h"
#include "tec/nn/working_copy.h"

namespace tec {

void WorkingWeights::Refresh(torch::nn::Module& model) {
  if (linears_.empty()) {
    for (const std::shared_ptr<torch::nn::Module>& module : model.modules(/*include_self=*/false)) {
      if (auto linear = std::dynamic_pointer_cast<Linear>(module)) linears_.push_back(std::move(linear));
    }
  }
  if (linears_.empty()) return;
  const at::ScalarType type = ProductType(linears_.front()->weight);
  if (type == linears_.front()->weight.scalar_type()) return;
  sources_.resize(2 * linears_.size());
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> from, to;
  for (size_t i = 0; i < linears_.size(); ++i) {
    Linear& linear = *linears_[i];
    bool current = true;
    const auto look_at = [&](const at::Tensor& tensor, const at::Tensor& copy, Source* seen) {
      const Source source = {tensor.const_data_ptr(), static_cast<uint32_t>(tensor._version())};
      // LibTorch's operations on lists change weights and leave their versions: of one that trains, a copy is taken
      // from nobody but who changed it.
      const bool unchanged = tensor.requires_grad() ? IsWrittenCopy(tensor, copy) : source == *seen;
      current =
          current && copy.defined() && copy.scalar_type() == type && copy.device() == tensor.device() && unchanged;
      // Several threads may look at a frozen model at once: what is current is not written to.
      if (!(source == *seen)) *seen = source;
    };
    look_at(linear.weight, linear.low_weight(), &sources_[2 * i]);
    look_at(linear.bias, linear.low_bias(), &sources_[2 * i + 1]);
    if (current) continue;
    // New ones: a graph that has not been gone back through keeps what it saw.
    linear.SetWorkingWeights(at::empty_like(linear.weight.detach(), linear.weight.options().dtype(type)),
                             at::empty_like(linear.bias.detach(), linear.bias.options().dtype(type)));
    AttachWorkingCopy(linear.weight, linear.low_weight());
    AttachWorkingCopy(linear.bias, linear.low_bias());
    from.insert(from.end(), {linear.weight.detach(), linear.bias.detach()});
    to.insert(to.end(), {linear.low_weight(), linear.low_bias()});
  }
  if (!to.empty()) at::_foreach_copy_(to, from);
}

}  // namespace tec
