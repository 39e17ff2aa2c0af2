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
    // Without AVX-512 LibTorch's own products of bfloat16 would be slower.
    if (HasAvx512()) linear->weight.set_data(linear->weight.t().contiguous().t());
  }
}

}  // namespace tec
