#include "tec/nn/gelu.h"

#include <optional>

#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/gelu.h"
#include "c10/core/GradMode.h"
#include "tec/nn/column_sum_kernels.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class GeluFunction : public torch::autograd::Function<GeluFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& h, const std::optional<at::Tensor>& bias) {
    context->save_for_backward({h});
    context->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    return at::gelu(h);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor h = context->get_saved_variables()[0];
    const at::Tensor d_out = gradients[0].contiguous();
    const at::Tensor d_h = at::empty_like(h);
    at::Tensor columns, scratch;
    GeluBackward a = {};
    a.type = ElementOf(h.scalar_type());
    a.width = h.size(-1);
    a.rows = h.numel() / a.width;
    a.h = DataOf(h);
    a.d_out = DataOf(d_out);
    a.d_h = DataOf(d_h);
    if (context->saved_data["bias"].toBool()) {
      MakeColumnSums(h, a.width, &columns, &scratch);
      a.columns = DataOf(columns);
      a.scratch = DataOf(scratch);
    }
    WorkRecord work("tec::gelu_backward", {h, d_out}, columns.defined() ? 2 : 1);
    RunKernel(h, RunGeluBackward, TEC_CUDA_KERNEL(LaunchGeluBackward), a);
    work.Wrote({d_h, columns});
    return {d_h, columns};
  }
};

}  // namespace

at::Tensor GeluWithBiasGradient(const at::Tensor& h, const at::Tensor& bias) {
  if (!c10::GradMode::is_enabled()) return at::gelu(h);
  return GeluFunction::apply(h.contiguous(), bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

}  // namespace tec
