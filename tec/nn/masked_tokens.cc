#include "tec/nn/masked_tokens.h"

#include "tec/base/logging.h"
#include "tec/nn/masking.h"

namespace tec {

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
  const at::Tensor places =
      positions.slice(1, 1).expand({batch, -1, -1}).gather(1, keep.expand({-1, -1, positions.size(2)}));
  const at::Tensor token = cls_token + positions.slice(1, 0, 1);
  return {at::cat({token.expand({batch, -1, -1}), patch_embed.Embed(visible) + places}, 1), masking.mask,
          masking.ids_restore};
}

at::Tensor Unshuffle(const at::Tensor& x, const at::Tensor& mask_token, const at::Tensor& ids_restore) {
  const int64_t batch = x.size(0), visible = x.size(1) - 1, patches = ids_restore.size(1);
  // Under autocast x is of low precision; adding the positions makes it float32 again.
  const at::Tensor masked = mask_token.to(x.scalar_type()).expand({batch, patches - visible, -1});
  const at::Tensor shuffled = at::cat({x.slice(1, 1), masked}, 1);
  const at::Tensor restored = shuffled.gather(1, ids_restore.unsqueeze(-1).expand({-1, -1, x.size(2)}));
  return at::cat({x.slice(1, 0, 1), restored}, 1);
}

}  // namespace tec
