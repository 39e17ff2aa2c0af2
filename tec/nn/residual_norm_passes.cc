#include "tec/nn/residual_norm_passes.h"

#include <algorithm>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/residual_norm_kernels.h"
#include "tec/nn/work_record.h"

namespace tec::residual {
namespace {

using Tensors = std::vector<at::Tensor>;

// The first dimension is that of `scale`.
int64_t RowsPerImage(const at::Tensor& x) { return x.size(0) == 0 ? 1 : x.numel() / x.size(-1) / x.size(0); }

}  // namespace

void Prepare(Inputs* in) {
  for (at::Tensor& x : in->x) {
    TEC_CHECK(x.sizes() == in->x.front().sizes() && x.scalar_type() == in->x.front().scalar_type())
        << x.sizes() << " beside " << in->x.front().sizes();
    x = x.contiguous();
  }
  const at::Tensor& x = in->x.front();
  TEC_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble)
      << "a residual stream is float32 or float64, not " << x.scalar_type();
  TEC_CHECK(!in->earlier.defined() ||
            (in->earlier.sizes() == x.sizes() && in->earlier.scalar_type() == in->branch.scalar_type()))
      << "an earlier branch of " << in->earlier.sizes() << " on " << x.sizes();
  if (in->earlier.defined()) in->earlier = in->earlier.contiguous();
  if (in->branch.defined()) {
    TEC_CHECK(in->branch.sizes() == x.sizes()) << "a branch of " << in->branch.sizes() << " on " << x.sizes();
    in->branch = in->branch.contiguous();
  }
  if (in->scale.defined()) {
    TEC_CHECK(in->scale.sizes() == at::IntArrayRef({x.size(0)})) << in->scale.sizes() << " scales for " << x.sizes();
    in->scale = in->scale.to(x.scalar_type()).contiguous();
  }
}

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
  a.earlier = DataOf(in.earlier);
  a.branch = DataOf(in.branch);
  a.scale = DataOf(in.scale);
  if (in.branch.defined() && in.wants_sum) out.sum = at::empty_like(x);
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
  Tensors reads = in.x, writes = out.normed;
  reads.insert(reads.end(), {in.earlier, in.branch, in.scale, in.weight, in.bias});
  writes.insert(writes.end(), {out.sum, out.mean, out.rstd});
  WorkRecord work("tec::residual_norm", reads);
  RunKernel(x, RunResidualNormForward, TEC_CUDA_KERNEL(LaunchResidualNormForward), a);
  work.Wrote(writes);
  return out;
}

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
  Tensors reads = in.sum, writes;
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

}  // namespace tec::residual
