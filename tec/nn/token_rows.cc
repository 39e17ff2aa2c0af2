#include "tec/nn/token_rows.h"

#include <optional>

#include "ATen/TensorOperators.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/sum.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/token_rows_kernels.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor Embedded(const at::Tensor& token, const at::Tensor& patches, const at::Tensor& keep,
                    const at::Tensor& positions) {
  EmbedTokensArguments a = {};
  a.type = ElementOf(positions.scalar_type());
  a.x_type = ElementOf(patches.scalar_type());
  a.images = patches.size(0);
  a.rows = patches.size(1);
  a.width = patches.size(2);
  a.token = DataOf(token);
  a.x = DataOf(patches);
  a.keep = keep.defined() ? keep.const_data_ptr<int64_t>() : nullptr;
  a.positions = DataOf(positions);
  const at::Tensor out = at::empty({a.images, a.rows + (token.defined() ? 1 : 0), a.width}, positions.options());
  a.out = DataOf(out);
  WorkRecord work("tec::embed_tokens", {token, patches, keep, positions});
  RunKernel(patches, RunEmbedTokens, TEC_CUDA_KERNEL(LaunchEmbedTokens), a);
  work.Wrote({out});
  return out;
}

// (token, patches, keep, positions) -> out.
class EmbedTokensFunction : public torch::autograd::Function<EmbedTokensFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const std::optional<at::Tensor>& token, const at::Tensor& patches,
                            const std::optional<at::Tensor>& keep, const at::Tensor& positions) {
    context->saved_data["type"] = static_cast<int64_t>(patches.scalar_type());
    context->saved_data["token"] = token.has_value();
    return Embedded(token.value_or(at::Tensor()), patches, keep.value_or(at::Tensor()), positions);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor& d = gradients[0];
    const int64_t head = context->saved_data["token"].toBool() ? 1 : 0;
    at::Tensor d_token, d_patches;
    if (head == 1 && context->needs_input_grad(0)) d_token = at::sum(d.narrow(1, 0, 1), {0}, /*keepdim=*/true);
    if (context->needs_input_grad(head)) {
      d_patches =
          d.narrow(1, head, d.size(1) - head).to(static_cast<at::ScalarType>(context->saved_data["type"].toInt()));
    }
    return {d_token, d_patches, at::Tensor(), at::Tensor()};
  }
};

at::Tensor PairSum(const std::vector<at::Tensor>& x, const std::vector<at::Tensor>& branches, at::ScalarType type) {
  const at::Tensor& like = x.front();
  PairSumArguments a = {};
  a.type = ElementOf(type);
  a.x_type = ElementOf(like.scalar_type());
  a.width = like.size(-1);
  a.rows = like.numel() / a.width;
  a.x = PartsOf(x);
  a.y = PartsOf(branches);
  const at::Tensor out = at::empty(like.sizes(), like.options().dtype(type));
  a.out = DataOf(out);
  variable_list reads = x;
  reads.insert(reads.end(), branches.begin(), branches.end());
  WorkRecord work("tec::sum_of_branches", reads);
  RunKernel(like, RunPairSum, TEC_CUDA_KERNEL(LaunchPairSum), a);
  work.Wrote({out});
  return out;
}

// (x..., branch..., bias...) -> the sum.
class SumOfBranchesFunction : public torch::autograd::Function<SumOfBranchesFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList x, at::TensorList branches, at::TensorList biases,
                            at::ScalarType type) {
    context->saved_data["type"] = static_cast<int64_t>(x.front().scalar_type());
    context->saved_data["count"] = static_cast<int64_t>(x.size());
    context->saved_data["biases"] = static_cast<int64_t>(biases.size());
    return PairSum(x.vec(), branches.vec(), type);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const int64_t biases = context->saved_data["biases"].toInt(), width = gradients[0].size(-1);
    const at::Tensor d = gradients[0].to(static_cast<at::ScalarType>(context->saved_data["type"].toInt()));
    variable_list result(2 * context->saved_data["count"].toInt(), d);
    // A row for each: autograd keeps a gradient that nobody else has, and copies others.
    const at::Tensor columns = at::sum(d.reshape({-1, width}), {0}, /*keepdim=*/true, gradients[0].scalar_type());
    for (const at::Tensor& row : columns.expand({biases, width}).contiguous().unbind(0)) result.push_back(row);
    result.emplace_back();
    return result;
  }
};

}  // namespace

at::Tensor EmbedTokens(const at::Tensor& token, const at::Tensor& patches, const at::Tensor& keep,
                       const at::Tensor& positions) {
  TEC_CHECK(patches.dim() == 3 && positions.dim() == 3 && positions.size(2) == patches.size(2) &&
            (keep.defined() ? keep.sizes() == patches.sizes().slice(0, 2) : positions.size(1) == 1 + patches.size(1)) &&
            (!token.defined() || (token.numel() == patches.size(2) && token.scalar_type() == positions.scalar_type())))
      << "patches " << patches.sizes() << ", positions " << positions.sizes();
  TEC_CHECK(!positions.requires_grad()) << "positions are a table";
  const at::Tensor x = patches.contiguous(), table = positions.contiguous();
  const at::Tensor head = token.defined() ? token.contiguous() : token,
                   kept = keep.defined() ? keep.contiguous() : keep;
  if (!c10::GradMode::is_enabled()) return Embedded(head, x, kept, table);
  const auto optional = [](const at::Tensor& tensor) {
    return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
  };
  return EmbedTokensFunction::apply(optional(head), x, optional(kept), table);
}

at::Tensor SumOfBranches(const std::vector<at::Tensor>& x, const std::vector<at::Tensor>& branches,
                         const std::vector<at::Tensor>& biases, at::ScalarType type) {
  TEC_CHECK(!x.empty() && x.size() == branches.size()) << x.size() << " tensors, " << branches.size() << " branches";
  const auto contiguous = [&](const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> result;
    for (const at::Tensor& tensor : tensors) {
      TEC_CHECK(tensor.sizes() == x.front().sizes() && tensor.scalar_type() == x.front().scalar_type())
          << tensor.scalar_type() << " " << tensor.sizes() << " beside " << x.front().scalar_type() << " "
          << x.front().sizes();
      result.push_back(tensor.contiguous());
    }
    return result;
  };
  const std::vector<at::Tensor> own_x = contiguous(x), own_branches = contiguous(branches);
  if (!c10::GradMode::is_enabled()) return PairSum(own_x, own_branches, type);
  return SumOfBranchesFunction::apply(at::TensorList(own_x), at::TensorList(own_branches), at::TensorList(biases),
                                      type);
}

at::Tensor MeanOfOutputs(const std::vector<at::Tensor>& outputs, const ResidualStream& last, int64_t first) {
  TEC_CHECK(!c10::GradMode::is_enabled()) << "a mean of outputs has no gradient";
  TEC_CHECK(!last.scale.defined());
  std::vector<at::Tensor> all = outputs;
  all.push_back(last.x);
  for (at::Tensor& x : all) {
    TEC_CHECK(x.sizes() == last.x.sizes() && x.scalar_type() == last.x.scalar_type());
    x = x.contiguous();
  }
  const at::Tensor branch = last.branch.defined() ? last.branch.contiguous() : last.branch;
  OutputMeanArguments a = {};
  a.type = ElementOf(last.x.scalar_type());
  a.branch_type = branch.defined() ? ElementOf(branch.scalar_type()) : a.type;
  a.images = last.x.size(0);
  a.tokens = last.x.size(1);
  a.first = first;
  a.width = last.x.size(2);
  a.x = PartsOf(all);
  a.branch = DataOf(branch);
  const at::Tensor out = at::empty({a.images, a.tokens - first, a.width}, last.x.options());
  a.out = DataOf(out);
  std::vector<at::Tensor> reads;  // Without the tokens before the first.
  for (const at::Tensor& x : all) reads.push_back(x.slice(1, first));
  if (branch.defined()) reads.push_back(branch.slice(1, first));
  WorkRecord work("tec::mean_of_outputs", reads);
  RunKernel(last.x, RunOutputMean, TEC_CUDA_KERNEL(LaunchOutputMean), a);
  work.Wrote({out});
  return out;
}

}  // namespace tec
