#include "tec/nn/masked_tokens.h"

#include "ATen/ops/empty.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/masking.h"
#include "tec/nn/token_rows.h"
#include "tec/nn/unshuffle_kernels.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor Unshuffled(const variable_list& x, const variable_list& mask_tokens, const at::Tensor& ids_restore,
                      const at::Tensor& positions) {
  const at::Tensor &first = x.front(), &mask_token = mask_tokens.front();
  UnshuffleForward a = {};
  a.type = ElementOf(mask_token.scalar_type());
  a.x_type = ElementOf(first.scalar_type());
  a.sequences = static_cast<int64_t>(x.size());
  a.images = first.size(0);
  a.patches = ids_restore.size(1);
  a.visible = first.size(1) - 1;
  a.width = first.size(2);
  a.restore = ids_restore.const_data_ptr<int64_t>();
  for (int64_t m = 0; m < a.sequences; ++m) {
    a.x[m] = DataOf(x[m]);
    a.mask_token[m] = DataOf(mask_tokens[m]);
  }
  a.positions = DataOf(positions);
  const at::Tensor out = at::empty({a.sequences * a.images, 1 + a.patches, a.width}, mask_token.options());
  a.out = DataOf(out);
  variable_list reads = x;
  reads.insert(reads.end(), {ids_restore, positions});
  WorkRecord work("tec::unshuffle", reads);
  RunKernel(first, RunUnshuffle, TEC_CUDA_KERNEL(LaunchUnshuffle), a);
  work.Wrote({out});
  return out;
}

// (x..., mask_token..., ids_restore, positions) -> out.
class UnshuffleFunction : public torch::autograd::Function<UnshuffleFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList x, at::TensorList mask_tokens,
                            const at::Tensor& ids_restore, const at::Tensor& positions) {
    context->saved_data["sizes"] = x.front().sizes().vec();
    context->saved_data["type"] = static_cast<int64_t>(x.front().scalar_type());
    context->saved_data["mask_token"] = mask_tokens.front().sizes().vec();
    context->saved_data["sequences"] = static_cast<int64_t>(x.size());
    context->save_for_backward({ids_restore});
    return Unshuffled(x.vec(), mask_tokens.vec(), ids_restore, positions);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor ids_restore = context->get_saved_variables()[0], d_out = gradients[0].contiguous();
    const std::vector<int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
    UnshuffleBackward a = {};
    a.type = ElementOf(d_out.scalar_type());
    a.x_type = ElementOf(type);
    a.sequences = context->saved_data["sequences"].toInt();
    a.images = sizes[0];
    a.patches = ids_restore.size(1);
    a.visible = sizes[1] - 1;
    a.width = sizes[2];
    a.restore = ids_restore.const_data_ptr<int64_t>();
    a.d_out = DataOf(d_out);
    variable_list result;
    for (int64_t m = 0; m < a.sequences; ++m) {
      result.push_back(at::empty(sizes, d_out.options().dtype(type)));
      a.d_x[m] = DataOf(result.back());
    }
    at::Tensor columns, scratch;
    MakeColumnSums(d_out, a.sequences * a.width, &columns, &scratch);
    a.columns = DataOf(columns);
    a.scratch = DataOf(scratch);
    WorkRecord work("tec::unshuffle_backward", {ids_restore, d_out}, 2);
    RunKernel(d_out, RunUnshuffleBackward, TEC_CUDA_KERNEL(LaunchUnshuffleBackward), a);
    work.Wrote(result);
    const at::Tensor d_mask_tokens = columns.view({a.sequences, a.width});
    for (int64_t m = 0; m < a.sequences; ++m) {
      result.push_back(d_mask_tokens[m].view(context->saved_data["mask_token"].toIntVector()));
    }
    result.resize(result.size() + 2);
    return result;
  }
};

}  // namespace

VisibleTokens EmbedVisible(PatchEmbed& patch_embed, const at::Tensor& images, const at::Tensor& noise,
                           double mask_ratio, const at::Tensor& cls_token, const at::Tensor& positions) {
  const at::Tensor patches = patch_embed.Cut(images);  // [N, L, c*P*P]
  const int64_t batch = patches.size(0);
  TEC_CHECK(noise.sizes() == at::IntArrayRef({batch, patches.size(1)}))
      << "masking noise has shape " << noise.sizes() << ", the model needs [" << batch << ", " << patches.size(1)
      << "], a number for each patch of each image";
  const Masking masking = RandomMasking(noise, mask_ratio);
  // Only what is kept is embedded: each patch is embedded by itself.
  const at::Tensor keep = masking.ids_keep.unsqueeze(-1);
  const at::Tensor visible = patches.gather(1, keep.expand({-1, -1, patches.size(2)}));
  return {EmbedTokens(cls_token + positions.slice(1, 0, 1), patch_embed.Embed(visible), masking.ids_keep, positions),
          masking.mask, masking.ids_restore};
}

at::Tensor Unshuffle(const std::vector<VisibleSequence>& sequences, const at::Tensor& ids_restore,
                     const at::Tensor& positions) {
  TEC_CHECK(!sequences.empty() && sequences.size() <= kMostSequences) << sequences.size() << " decoders";
  TEC_CHECK(!positions.requires_grad()) << "positions of a decoder are a table";
  variable_list x, mask_tokens;
  for (const VisibleSequence& sequence : sequences) {
    const at::Tensor& first = sequences.front().x;
    TEC_CHECK(sequence.x.sizes() == first.sizes() && sequence.x.scalar_type() == first.scalar_type() &&
              sequence.mask_token.numel() == first.size(2) && first.size(0) == ids_restore.size(0) &&
              first.size(1) <= 1 + ids_restore.size(1) &&
              positions.numel() == (1 + ids_restore.size(1)) * first.size(2))
        << "tokens " << sequence.x.sizes() << ", mask token " << sequence.mask_token.sizes() << ", order "
        << ids_restore.sizes() << ", positions " << positions.sizes();
    x.push_back(sequence.x.contiguous());
    mask_tokens.push_back(sequence.mask_token.contiguous());
  }
  if (!c10::GradMode::is_enabled()) {
    return Unshuffled(x, mask_tokens, ids_restore.contiguous(), positions.contiguous());
  }
  return UnshuffleFunction::apply(at::TensorList(x), at::TensorList(mask_tokens), ids_restore.contiguous(),
                                  positions.contiguous());
}

}  // namespace tec
