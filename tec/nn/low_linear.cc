#include "tec/nn/low_linear.h"

#include <optional>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/mm.h"
#include "ATen/ops/sum.h"
#include "c10/core/GradMode.h"
#include "tec/nn/bfloat16_product.h"
#include "tec/nn/gradient_place.h"
#include "tec/nn/product.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class LowLinearFunction : public torch::autograd::Function<LowLinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const at::Tensor& low_weight,
                            const at::Tensor& low_bias) {
    context->saved_data["sizes"] = weight.sizes().vec();
    context->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    // Asked for its gradient's place alone: its values may change.
    context->saved_data["weight"] = weight;
    context->save_for_backward({x, low_weight});
    return Product(x, low_weight.flatten(1), low_bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], weight = saved[1].flatten(1);
    const at::Tensor dy = gradients[0].reshape({-1, weight.size(0)});
    at::Tensor dx, d_weight, d_bias;
    if (context->needs_input_grad(0)) dx = Product(dy, weight.t()).view(x.sizes());
    if (context->needs_input_grad(1)) {
      at::Tensor place = PlaceForGradient(context->saved_data["weight"].toTensor());
      if (place.defined()) place = place.view(weight.sizes());
      d_weight = WeightGradient(dy, x.reshape({-1, weight.size(1)}), std::move(place))
                     .view(context->saved_data["sizes"].toIntVector());
    }
    if (context->saved_data["bias"].toBool()) d_bias = at::sum(dy, 0, false, at::kFloat);
    return {dx, d_weight, d_bias, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor WeightGradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor place) {
  const at::Tensor transposed = dy.t();
  if (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) {
    if (!place.defined()) return Product(transposed, x.t());
    return IsForOneDnn(transposed, x.t()) ? place.copy_(Product(transposed, x.t())) : at::mm_out(place, transposed, x);
  }
  if (!place.defined()) place = at::empty({dy.size(1), x.size(1)}, x.options().dtype(at::kFloat));
  // One product on CUDA, and on a CPU with instructions for bfloat16; LibTorch has none for the CPU that keeps sums of
  // low precision in float32 (but where they are float32's all along).
  WorkRecord work("tec::weight_gradient", {transposed, x});
  if (x.is_cuda()) {
    at::mm_out(place, transposed, x, at::kFloat);
  } else if (IsForBfloat16Product(transposed, x.t())) {
    Bfloat16Product(transposed, x.t(), place);
  } else if (MultipliesAsFloat32(x)) {
    at::mm_out(place, transposed.to(at::kFloat), x.to(at::kFloat));
  } else {
    place.copy_(at::mm(transposed, x));
  }
  work.Wrote({place});
  return place;
}

at::Tensor LowLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     const at::Tensor& low_weight, const at::Tensor& low_bias) {
  if (!c10::GradMode::is_enabled()) return Product(x, low_weight.flatten(1), low_bias);
  return LowLinearFunction::apply(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt,
                                  low_weight, low_bias);
}

}  // namespace tec
