#include "tec/nn/residual_norm_more.h"

#include <utility>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/empty.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/residual_norm_passes.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace residual {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// (x, branch, branch_bias, scale, weight of the first half, bias, of the second, bias) -> the two norms.
class NormsOfHalvesFunction : public torch::autograd::Function<NormsOfHalvesFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const Optional& branch,
                               const Optional& branch_bias, const Optional& scale, const at::Tensor& first_weight,
                               const at::Tensor& first_bias, const at::Tensor& second_weight,
                               const at::Tensor& second_bias, double epsilon, int64_t type) {
    context->set_materialize_grads(false);
    context->saved_data["branch_type"] =
        static_cast<int64_t>(branch ? branch->scalar_type() : at::ScalarType::Undefined);
    context->saved_data["branch_columns"] = TensorOf(branch_bias).defined() && TensorOf(branch_bias).requires_grad();
    variable_list saved, result;
    for (const int64_t half : {0, 1}) {
      const at::Tensor &weight = half == 0 ? first_weight : second_weight, &bias = half == 0 ? first_bias : second_bias;
      const Inputs in = {
          {HalfOf(x, half)}, HalfOf(TensorOf(branch), half), HalfOf(TensorOf(scale), half), weight, bias};
      Outputs out = Forward(in, epsilon, 1, static_cast<at::ScalarType>(type));
      saved.insert(saved.end(), {in.scale, weight, out.mean, out.rstd, branch ? out.sum : in.x.front()});
      result.push_back(std::move(out.normed.front()));
    }
    context->save_for_backward(std::move(saved));
    return result;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    variable_list result(10);
    if (!gradients[0].defined() && !gradients[1].defined()) return result;
    const auto branch_type = static_cast<at::ScalarType>(context->saved_data["branch_type"].toInt());
    const bool branch_columns = context->saved_data["branch_columns"].toBool();
    std::vector<int64_t> sizes = saved[4].sizes().vec();
    sizes[0] *= 2;
    const at::Tensor d_x = at::empty(sizes, saved[4].options());
    at::Tensor d_branch;
    if (branch_type != at::ScalarType::Undefined) {
      const bool same = branch_type == d_x.scalar_type() && !saved[0].defined();
      d_branch = same ? d_x : at::empty(sizes, d_x.options().dtype(branch_type));
    }
    for (const int64_t half : {0, 1}) {
      const auto save = [&](int64_t i) { return saved[5 * half + i]; };
      if (!gradients[half].defined()) {
        HalfOf(d_x, half).zero_();
        if (d_branch.defined()) HalfOf(d_branch, half).zero_();
        continue;
      }
      BackwardInputs in;
      in.sum = {save(4)};
      in.scale = save(0);
      in.weight = save(1);
      in.mean = save(2);
      in.rstd = save(3);
      in.d_normed = {gradients[half].contiguous()};
      in.has_branch = d_branch.defined();
      in.branch_type = branch_type;
      in.weight_columns = true;
      in.branch_columns = branch_columns;
      const Gradients out = Backward(in, {{HalfOf(d_x, half)}, HalfOf(d_branch, half), {}});
      if (branch_columns) result[2] = result[2].defined() ? result[2] + out.columns[2] : out.columns[2];
      result[4 + 2 * half] = out.columns[0];
      result[5 + 2 * half] = out.columns[1];
    }
    result[0] = d_x;
    result[1] = d_branch;
    return result;
  }

 private:
  static at::Tensor HalfOf(const at::Tensor& tensor, int64_t half) {
    return tensor.defined() ? tensor.narrow(0, half * (tensor.size(0) / 2), tensor.size(0) / 2) : tensor;
  }
};

Outputs WithoutGradient(Inputs in, double epsilon, at::ScalarType type) {
  TEC_CHECK(!c10::GradMode::is_enabled()) << "a sum that is not kept has no gradient";
  Prepare(&in);
  return Forward(in, epsilon, /*groups=*/1, type);
}

}  // namespace
}  // namespace residual

std::array<at::Tensor, 2> NormsOfHalves(const ResidualStream& stream, const std::array<NormParameters, 2>& parameters,
                                        double epsilon, at::ScalarType type) {
  TEC_CHECK_EQ(stream.x.size(0) % 2, 0) << "halves of " << stream.x.sizes();
  const auto& [first, second] = parameters;
  if (!c10::GradMode::is_enabled()) {
    const std::vector<ResidualStream> halves = Halves(stream);
    return {NormOf(halves[0], first.weight, first.bias, epsilon, type).normed,
            NormOf(halves[1], second.weight, second.bias, epsilon, type).normed};
  }
  residual::Inputs in = {{stream.x}, stream.branch, stream.scale, {}, {}};
  residual::Prepare(&in);
  const std::vector<at::Tensor> out = residual::NormsOfHalvesFunction::apply(
      in.x.front(), residual::OptionalOf(in.branch), residual::OptionalOf(stream.branch_bias),
      residual::OptionalOf(in.scale), first.weight, first.bias, second.weight, second.bias, epsilon,
      static_cast<int64_t>(type));
  return {out[0], out[1]};
}

at::Tensor NormAlone(const ResidualStream& stream, const NormParameters& norm, double epsilon, at::ScalarType type) {
  residual::Inputs in = {{stream.x}, stream.branch, stream.scale, norm.weight, norm.bias};
  in.wants_sum = false;
  return residual::WithoutGradient(std::move(in), epsilon, type).normed.front();
}

SumAndNorm NormOfTwoBranches(const at::Tensor& x, const at::Tensor& earlier, const at::Tensor& branch,
                             const NormParameters& norm, double epsilon, at::ScalarType type) {
  const residual::Outputs out =
      residual::WithoutGradient({{x}, branch, {}, norm.weight, norm.bias, earlier}, epsilon, type);
  return {out.sum, out.normed.front()};
}

}  // namespace tec
