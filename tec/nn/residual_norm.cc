#include "tec/nn/residual_norm.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/residual_norm_kernels.h"
#include "tec/nn/residual_norm_more.h"
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

// What backward needs of Forward, and the gradients that have come.
struct BackwardInputs {
  variable_list sum;  // What the norm saw; empty where no gradient comes through it.
  at::Tensor scale, weight, mean, rstd;
  at::Tensor d_sum, d_more;  // Both of the sum; the second only beside the first.
  variable_list d_normed;
  bool has_branch = false;
  at::ScalarType branch_type = at::ScalarType::Undefined;
  bool weight_columns = false, branch_columns = false;
};

struct Gradients {
  variable_list d_x;
  at::Tensor d_branch, columns;
};

// `into`: where d_x and d_branch are to be written, if they are written at all and are defined there.
Gradients Backward(const BackwardInputs& in, Gradients into) {
  const bool norm = !in.sum.empty();
  const at::Tensor& like = norm ? in.sum.front() : in.d_sum;
  const int64_t parts = std::max<int64_t>(1, static_cast<int64_t>(in.sum.size())), width = like.size(-1) * parts;
  ResidualNormBackward a = {};
  a.type = ElementOf(like.scalar_type());
  a.branch_type = in.has_branch ? ElementOf(in.branch_type) : a.type;
  a.normed_type = norm ? ElementOf(in.d_normed.front().scalar_type()) : a.type;
  a.rows = like.numel() / like.size(-1);
  a.width = width;
  a.rows_per_image = RowsPerImage(like);
  a.sum = PartsOf(in.sum);
  a.scale = DataOf(in.scale);
  a.d_sum = DataOf(in.d_sum);
  a.d_more = DataOf(in.d_more);
  a.d_normed = PartsOf(in.d_normed);
  variable_list reads = in.sum, writes;
  if (norm) {
    a.weight = DataOf(in.weight);
    a.mean = DataOf(in.mean);
    a.rstd = DataOf(in.rstd);
    reads.insert(reads.end(), {in.weight, in.mean, in.rstd});
  }
  reads.insert(reads.end(), in.d_normed.begin(), in.d_normed.end());
  reads.insert(reads.end(), {in.d_sum, in.d_more, in.scale});

  Gradients out = std::move(into);
  if (norm || in.d_more.defined()) {
    if (out.d_x.empty()) {
      for (int64_t p = 0; p < parts; ++p) out.d_x.push_back(at::empty_like(like));
    }
    a.d_x = PartsOf(out.d_x);
    writes = out.d_x;
  } else {
    out.d_x = {in.d_sum};
  }
  if (in.has_branch) {
    // Float32 without a scale: the same tensor twice, which nobody changes.
    if (in.branch_type == like.scalar_type() && !in.scale.defined()) {
      out.d_branch = out.d_x.front();
    } else {
      if (!out.d_branch.defined()) out.d_branch = at::empty(like.sizes(), like.options().dtype(in.branch_type));
      a.d_branch = DataOf(out.d_branch);
      writes.push_back(out.d_branch);
    }
  }
  a.weight_columns = norm && in.weight_columns;
  a.branch_columns = in.branch_columns;
  at::Tensor scratch;
  if (a.weight_columns || a.branch_columns) {
    out.columns = a.rows == 0 ? at::zeros({3, width}, like.options()) : at::empty({3, width}, like.options());
    scratch = at::empty({ColumnPartsOf(like), 3, width}, like.options());
    a.columns = DataOf(out.columns);
    a.scratch = DataOf(scratch);
    writes.push_back(out.columns);
  }
  if (a.d_x.count > 0 || a.d_branch != nullptr || a.branch_columns) {
    WorkRecord work("tec::residual_norm_backward", reads, out.columns.defined() ? 2 : 1);
    RunKernel(like, RunResidualNormBackward, TEC_CUDA_KERNEL(LaunchResidualNormBackward), a);
    work.Wrote(writes);
  }
  return out;
}

// Undefined tensors are none to autograd, which wants them as empty optionals.
using Optional = std::optional<at::Tensor>;

at::Tensor TensorOf(const Optional& value) { return value.value_or(at::Tensor()); }
Optional OptionalOf(const at::Tensor& tensor) { return tensor.defined() ? Optional(tensor) : std::nullopt; }

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

void Prepare(Inputs* in) {
  for (at::Tensor& x : in->x) {
    TEC_CHECK(x.sizes() == in->x.front().sizes() && x.scalar_type() == in->x.front().scalar_type())
        << x.sizes() << " beside " << in->x.front().sizes();
    x = x.contiguous();
  }
  const at::Tensor& x = in->x.front();
  TEC_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble)
      << "a residual stream is float32 or float64, not " << x.scalar_type();
  if (in->branch.defined()) {
    TEC_CHECK(in->branch.sizes() == x.sizes()) << "a branch of " << in->branch.sizes() << " on " << x.sizes();
    in->branch = in->branch.contiguous();
  }
  if (in->scale.defined()) {
    TEC_CHECK(in->scale.sizes() == at::IntArrayRef({x.size(0)})) << in->scale.sizes() << " scales for " << x.sizes();
    in->scale = in->scale.to(x.scalar_type()).contiguous();
  }
}

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
  return Run({{stream.x}, stream.branch, stream.scale, {}, {}}, stream.branch_bias, 0, 1, at::kFloat, 1).front();
}

SumAndNorm NormOf(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                  at::ScalarType type) {
  const variable_list out =
      Run({{stream.x}, stream.branch, stream.scale, weight, bias}, stream.branch_bias, epsilon, 1, type, 1);
  return {out[0], out[1]};
}

SumTwiceAndNorm NormOfShared(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias,
                             double epsilon, at::ScalarType type) {
  const variable_list out =
      Run({{stream.x}, stream.branch, stream.scale, weight, bias}, stream.branch_bias, epsilon, 1, type, 2);
  return {out[0], out[1], out[2]};
}

std::array<at::Tensor, 2> NormsOfHalves(const ResidualStream& stream, const std::array<NormParameters, 2>& parameters,
                                        double epsilon, at::ScalarType type) {
  TEC_CHECK_EQ(stream.x.size(0) % 2, 0) << "halves of " << stream.x.sizes();
  const auto& [first, second] = parameters;
  if (!c10::GradMode::is_enabled()) {
    const std::vector<ResidualStream> halves = Halves(stream);
    return {NormOf(halves[0], first.weight, first.bias, epsilon, type).normed,
            NormOf(halves[1], second.weight, second.bias, epsilon, type).normed};
  }
  Inputs in = {{stream.x}, stream.branch, stream.scale, {}, {}};
  Prepare(&in);
  const variable_list out = NormsOfHalvesFunction::apply(
      in.x.front(), OptionalOf(in.branch), OptionalOf(stream.branch_bias), OptionalOf(in.scale), first.weight,
      first.bias, second.weight, second.bias, epsilon, static_cast<int64_t>(type));
  return {out[0], out[1]};
}

std::vector<at::Tensor> NormOfConcatenation(const std::vector<at::Tensor>& parts, int64_t groups,
                                            const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                            at::ScalarType type) {
  TEC_CHECK(!parts.empty() && static_cast<int64_t>(parts.size()) % groups == 0)
      << groups << " groups of " << parts.size() << " parts";
  TEC_CHECK_EQ(weight.size(0), parts.front().size(-1) * static_cast<int64_t>(parts.size()));
  return Run({parts, {}, {}, weight, bias}, {}, epsilon, groups, type, 0);
}

}  // namespace tec
