#include "tec/nn/residual_norm.h"

#include <algorithm>
#include <utility>

#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/residual_norm_more.h"
#include "tec/nn/residual_norm_passes.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace residual {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// For autograd, to which an output must be a tensor of its own.
at::Tensor Alias(const at::Tensor& tensor) { return tensor.view(tensor.sizes()); }

// (x..., branch, branch_bias, scale, weight, bias) -> (`sums` times the sum, normed... where there is a weight).
class ResidualNormFunction : public torch::autograd::Function<ResidualNormFunction> {
 public:
  static variable_list forward(AutogradContext* context, at::TensorList x, const Optional& branch,
                               const Optional& branch_bias, const Optional& scale, const Optional& weight,
                               const Optional& bias, double epsilon, int64_t groups, int64_t type, int64_t sums) {
    context->set_materialize_grads(false);
    Inputs in = {x.vec(), TensorOf(branch), TensorOf(scale), TensorOf(weight), TensorOf(bias)};
    Outputs out = Forward(in, epsilon, groups, static_cast<at::ScalarType>(type));
    context->saved_data["parts"] = static_cast<int64_t>(x.size());
    context->saved_data["sums"] = sums;
    context->saved_data["branch_type"] =
        static_cast<int64_t>(in.branch.defined() ? in.branch.scalar_type() : at::ScalarType::Undefined);
    context->saved_data["branch_columns"] = TensorOf(branch_bias).defined() && TensorOf(branch_bias).requires_grad();
    context->saved_data["weight_columns"] =
        in.weight.defined() && (in.weight.requires_grad() || in.bias.requires_grad());
    variable_list saved = {in.scale};
    if (in.weight.defined()) {
      saved.insert(saved.end(), {in.weight, out.mean, out.rstd});
      if (in.branch.defined()) {
        saved.push_back(out.sum);
      } else {
        saved.insert(saved.end(), x.begin(), x.end());
      }
    }
    context->save_for_backward(std::move(saved));
    variable_list result;
    const at::Tensor sum = in.branch.defined() ? out.sum : x.front();
    for (int64_t i = 0; i < sums; ++i) result.push_back(i == 0 && in.branch.defined() ? sum : Alias(sum));
    result.insert(result.end(), out.normed.begin(), out.normed.end());
    return result;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const int64_t parts = context->saved_data["parts"].toInt(), sums = context->saved_data["sums"].toInt();
    // x..., branch, branch_bias, scale, weight, bias, and four that are no tensors.
    variable_list result(parts + 9);

    BackwardInputs in;
    in.branch_type = static_cast<at::ScalarType>(context->saved_data["branch_type"].toInt());
    in.has_branch = in.branch_type != at::ScalarType::Undefined;
    in.branch_columns = context->saved_data["branch_columns"].toBool();
    in.weight_columns = context->saved_data["weight_columns"].toBool();
    in.scale = saved[0];
    for (int64_t i = 0; i < sums; ++i) {
      if (!gradients[i].defined()) continue;
      (in.d_sum.defined() ? in.d_more : in.d_sum) = gradients[i].contiguous();
    }
    variable_list d_normed(gradients.begin() + sums, gradients.end());
    const bool norm = std::any_of(d_normed.begin(), d_normed.end(), [](const at::Tensor& d) { return d.defined(); });
    if (!norm && !in.d_sum.defined()) return result;
    if (norm) {
      in.weight = saved[1];
      in.mean = saved[2];
      in.rstd = saved[3];
      in.sum.assign(saved.begin() + 4, saved.end());
      for (const at::Tensor& d : d_normed) {
        TEC_CHECK(d.defined()) << "all groups of a norm are used, or none";
        in.d_normed.push_back(d.contiguous());
      }
    }
    Gradients out = Backward(in, {});
    std::move(out.d_x.begin(), out.d_x.end(), result.begin());
    result[parts] = out.d_branch;
    if (in.branch_columns) result[parts + 1] = out.columns[2];
    if (norm && in.weight_columns) {
      result[parts + 3] = out.columns[0];
      result[parts + 4] = out.columns[1];
    }
    return result;
  }
};

// `sums` times the sum, then the norm's parts.
variable_list Run(Inputs in, const at::Tensor& branch_bias, double epsilon, int64_t groups, at::ScalarType type,
                  int64_t sums) {
  Prepare(&in);
  if (c10::GradMode::is_enabled()) {
    return ResidualNormFunction::apply(at::TensorList(in.x), OptionalOf(in.branch), OptionalOf(branch_bias),
                                       OptionalOf(in.scale), OptionalOf(in.weight), OptionalOf(in.bias), epsilon,
                                       groups, static_cast<int64_t>(type), sums);
  }
  Outputs out = Forward(in, epsilon, groups, type);
  variable_list result(sums, in.branch.defined() ? out.sum : in.x.front());
  result.insert(result.end(), out.normed.begin(), out.normed.end());
  return result;
}

}  // namespace
}  // namespace residual

std::vector<ResidualStream> Halves(const ResidualStream& stream) {
  // One operation for both, whose backward writes each gradient once.
  const auto halves = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.chunk(2, 0) : std::vector<at::Tensor>(2);
  };
  const std::vector<at::Tensor> x = halves(stream.x), branch = halves(stream.branch), scale = halves(stream.scale);
  return {{x[0], branch[0], scale[0], stream.branch_bias}, {x[1], branch[1], scale[1], stream.branch_bias}};
}

at::Tensor Sum(const ResidualStream& stream) {
  if (!stream.branch.defined()) return stream.x;
  return residual::Run({{stream.x}, stream.branch, stream.scale, {}, {}}, stream.branch_bias, 0, 1, at::kFloat, 1)
      .front();
}

SumAndNorm NormOf(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                  at::ScalarType type) {
  const std::vector<at::Tensor> out =
      residual::Run({{stream.x}, stream.branch, stream.scale, weight, bias}, stream.branch_bias, epsilon, 1, type, 1);
  return {out[0], out[1]};
}

SumTwiceAndNorm NormOfShared(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias,
                             double epsilon, at::ScalarType type) {
  const std::vector<at::Tensor> out =
      residual::Run({{stream.x}, stream.branch, stream.scale, weight, bias}, stream.branch_bias, epsilon, 1, type, 2);
  return {out[0], out[1], out[2]};
}

std::vector<at::Tensor> NormOfConcatenation(const std::vector<at::Tensor>& parts, int64_t groups,
                                            const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                            at::ScalarType type) {
  TEC_CHECK(!parts.empty() && static_cast<int64_t>(parts.size()) % groups == 0)
      << groups << " groups of " << parts.size() << " parts";
  TEC_CHECK_EQ(weight.size(0), parts.front().size(-1) * static_cast<int64_t>(parts.size()));
  return residual::Run({parts, {}, {}, weight, bias}, {}, epsilon, groups, type, 0);
}

}  // namespace tec
