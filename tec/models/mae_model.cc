#include "tec/models/mae_model.h"

#include "tec/base/logging.h"
#include "tec/nn/masked_tokens.h"
#include "tec/nn/positions.h"

namespace tec {

MaeModel::MaeModel(const MaeOptions& options) : options_(options) {
  TEC_CHECK_OK(Validate(options));
  const VitOptions& vit = options.encoder;
  const DecoderOptions& decoder = options.decoder;
  cls_token_ = register_parameter("cls_token", at::empty({1, 1, vit.width}));
  pos_embed_ = register_parameter("pos_embed", SinCosPositions(vit.width, vit.grid()), /*requires_grad=*/false);
  mask_token_ = register_parameter("mask_token", at::empty({1, 1, decoder.width}));
  decoder_pos_embed_ =
      register_parameter("decoder_pos_embed", SinCosPositions(decoder.width, vit.grid()), /*requires_grad=*/false);
  patch_embed_ = register_module("patch_embed",
                                 std::make_shared<PatchEmbed>(vit.image_size, vit.patch_size, vit.width, vit.channels));
  blocks_ = register_module(
      "blocks", std::make_shared<BlockList>(vit.depth, vit.width, vit.heads, BlockOptions{vit.variant.hidden}));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(vit.width));
  decoder_embed_ = register_module("decoder_embed", std::make_shared<Linear>(vit.width, decoder.width));
  decoder_blocks_ = register_module(
      "decoder_blocks",
      std::make_shared<BlockList>(decoder.depth, decoder.width, decoder.heads, BlockOptions{decoder.hidden}));
  decoder_norm_ = register_module("decoder_norm", std::make_shared<LayerNorm>(decoder.width));
  decoder_pred_ = register_module(
      "decoder_pred", std::make_shared<Linear>(decoder.width, vit.channels * vit.patch_size * vit.patch_size));
}

MaeOutput MaeModel::forward(const at::Tensor& images, const at::Tensor& noise, double mask_ratio) {
  working_weights_.Refresh(*this);
  const VisibleTokens visible = EmbedVisible(*patch_embed_, images, noise, mask_ratio, cls_token_, pos_embed_);
  const at::Tensor encoded = norm_->ForProduct(blocks_->Through(visible.tokens)).normed;
  const at::Tensor tokens =
      Unshuffle({{decoder_embed_->forward(encoded), mask_token_}}, visible.ids_restore, decoder_pos_embed_);
  const at::Tensor decoded = decoder_norm_->ForProduct(decoder_blocks_->Through(tokens)).normed;
  return {decoder_pred_->forward(decoded.slice(1, 1)), visible.mask, visible.ids_restore};
}

}  // namespace tec
