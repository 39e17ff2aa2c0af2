#include "tec/nn/frozen_layout.h"

#include <memory>

#include "tec/base/logging.h"
#include "tec/nn/modules.h"
#include "tec/nn/product.h"

namespace tec {

void LayOutForward(torch::nn::Module& model) {
  for (const std::shared_ptr<torch::nn::Module>& module : model.modules(/*include_self=*/false)) {
    const auto linear = std::dynamic_pointer_cast<Linear>(module);
    if (linear == nullptr || linear->weight.dim() != 2 || !linear->weight.device().is_cpu()) continue;
    TEC_CHECK(!linear->weight.requires_grad()) << "a model that learns keeps its weights as they are";
    // Others' products are MKL's for the most part, to which it is all one.
    if (HasBfloat16Instructions()) linear->weight.set_data(linear->weight.t().contiguous().t());
  }
}

}  // namespace tec
