#include "tec/nn/residual_norm.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/residual_norm_kernels.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Inputs {
  variable_list x;  // One tensor where there is a branch.
  at::Tensor branch, scale, weight, bias;
};

struct Outputs {
  at::Tensor sum;  // Defined where there is a branch.
  variable_list normed;
  at::Tensor mean, rstd;
};

// The first dimension is that of `scale`.
int64_t RowsPerImage(const at::Tensor& x) { return x.size(0) == 0 ? 1 : x.numel() / x.size(-1) / x.size(0); }

Outputs Forward(const Inputs& in, double epsilon, int64_t groups, at::ScalarType type) {
  const at::Tensor& x = in.x.front();
  const int64_t width = x.size(-1) * static_cast<int64_t>(in.x.size());
  Outputs out;
  ResidualNormForward a = {};
  a.type = ElementOf(x.scalar_type());
  a.branch_type = in.branch.defined() ? ElementOf(in.branch.scalar_type()) : a.type;
  a.normed_type = in.weight.defined() ? ElementOf(type) : a.type;
  a.rows = x.numel() / x.size(-1);
  a.width = width;
  a.rows_per_image = RowsPerImage(x);
  a.epsilon = epsilon;
  a.x = PartsOf(in.x);
  a.branch = DataOf(in.branch);
  a.scale = DataOf(in.scale);
  if (in.branch.defined()) out.sum = at::empty_like(x);
  a.sum = DataOf(out.sum);
  if (in.weight.defined()) {
    std::vector<int64_t> sizes = x.sizes().vec();
    sizes.back() = width / groups;
    for (int64_t g = 0; g < groups; ++g) out.normed.push_back(at::empty(sizes, x.options().dtype(type)));
    out.mean = at::empty({a.rows}, x.options());
    out.rstd = at::empty({a.rows}, x.options());
    a.weight = DataOf(in.weight);
    a.bias = DataOf(in.bias);
    a.normed = PartsOf(out.normed);
    a.mean = DataOf(out.mean);
    a.rstd = DataOf(out.rstd);
  }
  std::vector<at::Tensor> reads = in.x, writes = out.normed;
  reads.insert(reads.end(), {in.branch, in.scale, in.weight, in.bias});
  writes.insert(writes.end(), {out.sum, out.mean, out.rstd});
  WorkRecord work("tec::residual_norm", reads);
  RunKernel(x, RunResidualNormForward, TEC_CUDA_KERNEL(LaunchResidualNormForward), a);
  work.Wrote(writes);
  return out;
}

// (x..., branch, branch_bias, scale, weight, bias) -> (sum where there is a branch, normed... where there is a weight).
class ResidualNormFunction : public torch::autograd::Function<ResidualNormFunction> {
 public:
  // Undefined tensors are none to autograd, which wants them as empty optionals.
  using Optional = std::optional<at::Tensor>;

  static variable_list forward(AutogradContext* context, at::TensorList x, const Optional& branch,
                               const Optional& branch_bias, const Optional& scale, const Optional& weight,
                               const Optional& bias, double epsilon, int64_t groups, int64_t type) {
    context->set_materialize_grads(false);
    const auto tensor = [](const Optional& value) { return value.value_or(at::Tensor()); };
    Inputs in = {x.vec(), tensor(branch), tensor(scale), tensor(weight), tensor(bias)};
    Outputs out = Forward(in, epsilon, groups, static_cast<at::ScalarType>(type));
    context->saved_data["parts"] = static_cast<int64_t>(x.size());
    context->saved_data["branch_type"] =
        static_cast<int64_t>(in.branch.defined() ? in.branch.scalar_type() : at::ScalarType::Undefined);
    context->saved_data["branch_columns"] = tensor(branch_bias).defined() && tensor(branch_bias).requires_grad();
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
    variable_list result = std::move(out.normed);
    if (in.branch.defined()) result.insert(result.begin(), out.sum);
    return result;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const int64_t parts = context->saved_data["parts"].toInt();
    const auto branch_type = static_cast<at::ScalarType>(context->saved_data["branch_type"].toInt());
    const bool has_branch = branch_type != at::ScalarType::Undefined;
    // x..., branch, branch_bias, scale, weight, bias, and three that are no tensors.
    variable_list result(parts + 8);

    at::Tensor d_sum = has_branch ? gradients[0] : at::Tensor();
    variable_list d_normed(gradients.begin() + (has_branch ? 1 : 0), gradients.end());
    at::Tensor like = d_sum;
    bool norm = false;
    for (const at::Tensor& gradient : d_normed) {
      if (gradient.defined()) norm = true;
    }
    if (!norm && !d_sum.defined()) return result;
    if (d_sum.defined()) d_sum = d_sum.contiguous();
    variable_list sum;
    if (norm) {
      sum.assign(saved.begin() + 4, saved.end());
      for (at::Tensor& gradient : d_normed) {
        TEC_CHECK(gradient.defined()) << "all groups of a norm are used, or none";
        gradient = gradient.contiguous();
      }
      like = sum.front();
    } else {
      d_normed.clear();
    }
    const int64_t width = like.size(-1) * std::max<int64_t>(1, static_cast<int64_t>(sum.size()));
    const at::Tensor& scale = saved[0];

    ResidualNormBackward a = {};
    a.type = ElementOf(like.scalar_type());
    a.branch_type = has_branch ? ElementOf(branch_type) : a.type;
    a.normed_type = norm ? ElementOf(d_normed.front().scalar_type()) : a.type;
    a.rows = like.numel() / like.size(-1);
    a.width = width;
    a.rows_per_image = RowsPerImage(like);
    a.sum = PartsOf(sum);
    a.scale = DataOf(scale);
    a.d_sum = DataOf(d_sum);
    a.d_normed = PartsOf(d_normed);
    variable_list reads = sum, writes;
    if (norm) {
      a.weight = DataOf(saved[1]);
      a.mean = DataOf(saved[2]);
      a.rstd = DataOf(saved[3]);
      reads.insert(reads.end(), {saved[1], saved[2], saved[3]});
    }
    reads.insert(reads.end(), d_normed.begin(), d_normed.end());
    reads.insert(reads.end(), {d_sum, scale});

    variable_list d_x;
    if (norm) {
      for (int64_t p = 0; p < parts; ++p) d_x.push_back(at::empty_like(like));
      a.d_x = PartsOf(d_x);
      writes = d_x;
    } else {
      d_x = {d_sum};
    }
    at::Tensor d_branch;
    if (has_branch) {
      // Float32 without a scale: the same tensor twice, which nobody changes.
      if (branch_type == like.scalar_type() && !scale.defined()) {
        d_branch = d_x.front();
      } else {
        d_branch = at::empty(like.sizes(), like.options().dtype(branch_type));
        a.d_branch = DataOf(d_branch);
        writes.push_back(d_branch);
      }
    }
    a.weight_columns = norm && context->saved_data["weight_columns"].toBool();
    a.branch_columns = context->saved_data["branch_columns"].toBool();
    at::Tensor columns, scratch;
    if (a.weight_columns || a.branch_columns) {
      columns = a.rows == 0 ? at::zeros({3, width}, like.options()) : at::empty({3, width}, like.options());
      scratch = at::empty({ColumnPartsOf(like), 3, width}, like.options());
      a.columns = DataOf(columns);
      a.scratch = DataOf(scratch);
      writes.push_back(columns);
    }
    if (norm || a.d_branch != nullptr || a.branch_columns) {
      WorkRecord work("tec::residual_norm_backward", reads, columns.defined() ? 2 : 1);
      RunKernel(like, RunResidualNormBackward, TEC_CUDA_KERNEL(LaunchResidualNormBackward), a);
      work.Wrote(writes);
    }
    std::move(d_x.begin(), d_x.end(), result.begin());
    result[parts] = d_branch;
    if (a.branch_columns) result[parts + 1] = columns[2];
    if (a.weight_columns) {
      result[parts + 3] = columns[0];
      result[parts + 4] = columns[1];
    }
    return result;
  }
};

// Sum first, then the norm's parts.
variable_list Run(Inputs in, const at::Tensor& branch_bias, double epsilon, int64_t groups, at::ScalarType type) {
  for (at::Tensor& x : in.x) {
    TEC_CHECK(x.sizes() == in.x.front().sizes() && x.scalar_type() == in.x.front().scalar_type())
        << x.sizes() << " beside " << in.x.front().sizes();
    x = x.contiguous();
  }
  const at::Tensor& x = in.x.front();
  TEC_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble)
      << "a residual stream is float32 or float64, not " << x.scalar_type();
  if (in.branch.defined()) {
    TEC_CHECK(in.branch.sizes() == x.sizes()) << "a branch of " << in.branch.sizes() << " on " << x.sizes();
    in.branch = in.branch.contiguous();
  }
  if (in.scale.defined()) {
    TEC_CHECK(in.scale.sizes() == at::IntArrayRef({x.size(0)})) << in.scale.sizes() << " scales for " << x.sizes();
    in.scale = in.scale.to(x.scalar_type()).contiguous();
  }
  if (c10::GradMode::is_enabled()) {
    using Optional = std::optional<at::Tensor>;
    const auto optional = [](const at::Tensor& tensor) { return tensor.defined() ? Optional(tensor) : std::nullopt; };
    return ResidualNormFunction::apply(at::TensorList(in.x), optional(in.branch), optional(branch_bias),
                                       optional(in.scale), optional(in.weight), optional(in.bias), epsilon, groups,
                                       static_cast<int64_t>(type));
  }
  Outputs out = Forward(in, epsilon, groups, type);
  if (out.sum.defined()) out.normed.insert(out.normed.begin(), out.sum);
  return std::move(out.normed);
}

}  // namespace

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
  return Run({{stream.x}, stream.branch, stream.scale, {}, {}}, stream.branch_bias, 0, 1, at::kFloat).front();
}

SumAndNorm NormOf(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                  at::ScalarType type) {
  const variable_list out =
      Run({{stream.x}, stream.branch, stream.scale, weight, bias}, stream.branch_bias, epsilon, 1, type);
  return {stream.branch.defined() ? out.front() : stream.x, out.back()};
}

std::vector<at::Tensor> NormOfConcatenation(const std::vector<at::Tensor>& parts, int64_t groups,
                                            const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                            at::ScalarType type) {
  TEC_CHECK(!parts.empty() && static_cast<int64_t>(parts.size()) % groups == 0)
      << groups << " groups of " << parts.size() << " parts";
  TEC_CHECK_EQ(weight.size(0), parts.front().size(-1) * static_cast<int64_t>(parts.size()));
  return Run({parts, {}, {}, weight, bias}, {}, epsilon, groups, type);
}

}  // namespace tec
