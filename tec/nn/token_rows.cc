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
