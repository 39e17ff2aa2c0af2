#include "tec/nn/split_heads.h"

#include <optional>
#include <vector>

#include "ATen/ops/empty.h"
#include "c10/core/GradMode.h"
#include "tec/nn/column_sum_kernels.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/work_record.h"
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
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& bias,
                               int64_t heads) {
    context->set_materialize_grads(false);
    context->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    context->saved_data["heads"] = heads;
    // Outputs of a function that are views of its input forbid nothing here: nobody writes to them.
    variable_list parts;
    for (const at::Tensor& part : ByPart(x, heads).unbind(0)) parts.push_back(part);
    return parts;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    at::Tensor like;
    for (at::Tensor& gradient : gradients) {
      if (!gradient.defined()) continue;
      if (gradient.stride(3) != 1) gradient = gradient.contiguous();
      like = gradient;
    }
    if (!like.defined()) return {at::Tensor(), at::Tensor(), at::Tensor()};
    JoinHeads a = {};
    a.type = ElementOf(like.scalar_type());
    a.images = like.size(0);
    a.heads = like.size(1);
    a.tokens = like.size(2);
    a.head_width = like.size(3);
    for (int i = 0; i < 3; ++i) {
      if (!gradients[i].defined()) continue;
      a.part[i] = gradients[i].const_data_ptr();
      a.image_stride[i] = gradients[i].stride(0);
      a.head_stride[i] = gradients[i].stride(1);
      a.token_stride[i] = gradients[i].stride(2);
    }
    const int64_t width = 3 * a.heads * a.head_width;
    const at::Tensor d_x = at::empty({a.images, a.tokens, width}, like.options());
    a.d_x = DataOf(d_x);
    at::Tensor columns, scratch;
    if (context->saved_data["bias"].toBool()) {
      MakeColumnSums(like, width, &columns, &scratch);
      a.columns = DataOf(columns);
      a.scratch = DataOf(scratch);
    }
    WorkRecord work("tec::join_heads", gradients, columns.defined() ? 2 : 1);
    RunKernel(like, RunJoinHeads, TEC_CUDA_KERNEL(LaunchJoinHeads), a);
    work.Wrote({d_x, columns});
    return {d_x, columns, at::Tensor()};
  }
};

}  // namespace

std::array<at::Tensor, 3> SplitHeads(const at::Tensor& x, const at::Tensor& bias, int64_t heads) {
  if (!c10::GradMode::is_enabled()) {
    const std::vector<at::Tensor> parts = ByPart(x, heads).unbind(0);
    return {parts[0], parts[1], parts[2]};
  }
  const variable_list parts =
      SplitHeadsFunction::apply(x.contiguous(), bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, heads);
  return {parts[0], parts[1], parts[2]};
}

}  // namespace tec
