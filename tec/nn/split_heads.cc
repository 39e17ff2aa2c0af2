#include "tec/nn/split_heads.h"

#include <vector>

#include "ATen/ops/empty.h"
#include "c10/core/GradMode.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// [N, T, 3C] -> [3, N, H, T, C/H], a view.
at::Tensor ByPart(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), 3, heads, x.size(2) / (3 * heads)}).permute({2, 0, 3, 1, 4});
}

class SplitHeadsFunction : public torch::autograd::Function<SplitHeadsFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, int64_t heads) {
    context->set_materialize_grads(false);
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["heads"] = heads;
    // Outputs of a function that are views of its input forbid nothing here: nobody writes to them.
    variable_list parts;
    for (const at::Tensor& part : ByPart(x, heads).unbind(0)) parts.push_back(part);
    return parts;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    at::Tensor like;
    for (const at::Tensor& gradient : gradients) {
      if (gradient.defined()) like = gradient;
    }
    if (!like.defined()) return {at::Tensor(), at::Tensor()};
    const at::Tensor result = at::empty(context->saved_data["sizes"].toIntVector(), like.options());
    const at::Tensor parts = ByPart(result, context->saved_data["heads"].toInt());
    for (int64_t i = 0; i < 3; ++i) {
      if (gradients[i].defined()) {
        parts[i].copy_(gradients[i]);
      } else {
        parts[i].zero_();
      }
    }
    return {result, at::Tensor()};
  }
};

}  // namespace

std::array<at::Tensor, 3> SplitHeads(const at::Tensor& x, int64_t heads) {
  if (!c10::GradMode::is_enabled()) {
    const std::vector<at::Tensor> parts = ByPart(x, heads).unbind(0);
    return {parts[0], parts[1], parts[2]};
  }
  const variable_list parts = SplitHeadsFunction::apply(x.contiguous(), heads);
  return {parts[0], parts[1], parts[2]};
}

}  // namespace tec
