#include "tec/models/tec_model.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "tec/base/logging.h"
#include "tec/nn/autocast.h"
#include "tec/nn/masked_tokens.h"
#include "tec/nn/positions.h"
#include "tec/nn/relation_logits.h"
#include "tec/nn/residual_norm_more.h"

namespace tec {

// Embedding, mask token, norm and head of the feature prediction; blocks and positions belong to the model.
struct TecModel::FeatureDecoder : torch::nn::Module {
  FeatureDecoder(int64_t width, int64_t decoder_width, int64_t prediction_width) {
    mask_token = register_parameter("mask_token", at::empty({1, 1, decoder_width}));
    decoder_embed = register_module("decoder_embed", std::make_shared<Linear>(width, decoder_width));
    decoder_norm = register_module("decoder_norm", std::make_shared<LayerNorm>(decoder_width));
    decoder_pred = register_module("decoder_pred", std::make_shared<Linear>(decoder_width, prediction_width));
  }

  // normed [N, T, W], of decoder_norm -> [N, T, C], of which that of [CLS] is no prediction: a copy of all others,
  // forward and back, costs more.
  at::Tensor Predict(const at::Tensor& normed) { return decoder_pred->forward(normed); }

  at::Tensor mask_token;
  std::shared_ptr<Linear> decoder_embed;
  std::shared_ptr<LayerNorm> decoder_norm;
  std::shared_ptr<Linear> decoder_pred;
};

// The same for the relations.
struct TecModel::RelationDecoder : torch::nn::Module {
  RelationDecoder(int64_t width, int64_t decoder_width, int64_t prediction_width, int64_t prediction_heads)
      : heads(prediction_heads) {
    mask_token = register_parameter("mask_token", at::empty({1, 1, decoder_width}));
    decoder_embed = register_module("decoder_embed", std::make_shared<Linear>(width, decoder_width));
    decoder_norm = register_module("decoder_norm", std::make_shared<LayerNorm>(decoder_width));
    decoder_qk = register_module("decoder_qk", std::make_shared<Linear>(decoder_width, 2 * prediction_width));
  }

  // normed [N, T, W], of decoder_norm; idx [N, 1, K] -> [N, 1, 1+K, H, L].
  at::Tensor Predict(const at::Tensor& normed, const at::Tensor& idx) {
    // The full width and not the head's: the reference's scale.
    const double scale = 1 / std::sqrt(static_cast<double>(decoder_qk->weight.size(0) / 2));
    return RelationLogits(*decoder_qk, normed, idx, heads, scale);
  }

  int64_t heads;
  at::Tensor mask_token;
  std::shared_ptr<Linear> decoder_embed;
  std::shared_ptr<LayerNorm> decoder_norm;
  std::shared_ptr<Linear> decoder_qk;
};

TecModel::Prediction TecModel::MakePrediction(torch::nn::Module& owner, const TecOptions::Target& target) const {
  const VitOptions& vit = options_.encoder;
  const DecoderOptions& decoder = options_.decoder;
  Prediction made;
  made.encoder_adaptor = owner.register_module(
      "encoder_adaptor", std::make_shared<EncoderAdaptor>(vit.depth, vit.width, options_.groups(), 4 * decoder.width));
  made.forward_fea_decoder = owner.register_module(
      "forward_fea_decoder", std::make_shared<FeatureDecoder>(vit.width, decoder.width, target.width));
  if (options_.pred_att) {
    made.forward_att_decoder = owner.register_module(
        "forward_att_decoder", std::make_shared<RelationDecoder>(vit.width, decoder.width, target.width, target.heads));
  }
  made.decoder_blocks = owner.register_module(
      "decoder_blocks",
      std::make_shared<BlockList>(decoder.depth, decoder.width, decoder.heads, BlockOptions{decoder.hidden}));
  return made;
}

TecModel::TecModel(const TecOptions& options) : options_(options) {
  TEC_CHECK_OK(Validate(options));
  const VitOptions& vit = options.encoder;
  const DecoderOptions& decoder = options.decoder;
  cls_token_ = register_parameter("cls_token", at::empty({1, 1, vit.width}));
  pos_embed_ = register_parameter("pos_embed", SinCosPositions(vit.width, vit.grid()), /*requires_grad=*/false);
  decoder_pos_embed_ =
      register_parameter("decoder_pos_embed", SinCosPositions(decoder.width, vit.grid()), /*requires_grad=*/false);
  patch_embed_ = register_module("patch_embed",
                                 std::make_shared<PatchEmbed>(vit.image_size, vit.patch_size, vit.width, vit.channels));
  blocks_ = register_module(
      "blocks", std::make_shared<BlockList>(vit.depth, vit.width, vit.heads, BlockOptions{vit.variant.hidden}));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(vit.width));
  if (options.mlp_token) {
    // As wide as the blocks', as in the reference.
    const int64_t hidden = vit.variant.hidden == 0 ? 4 * vit.width : vit.variant.hidden;
    cls_token_mlp_ = register_module("cls_token_mlp", std::make_shared<Mlp>(vit.width, hidden));
  }
  predictions_.push_back(MakePrediction(*this, options.target(0)));
  if (options.further_targets.empty()) return;
  const auto further = register_module("further_bases", std::make_shared<torch::nn::Module>());
  for (size_t base = 1; base < options.base_models(); ++base) {
    const auto owner = further->register_module(std::to_string(base), std::make_shared<torch::nn::Module>());
    predictions_.push_back(MakePrediction(*owner, options.target(base)));
  }
}

at::Tensor TecModel::ClassToken() { return cls_token_mlp_ ? cls_token_mlp_->forward(cls_token_) : cls_token_; }

TecModel::Encoded TecModel::Encode(const at::Tensor& images, const at::Tensor& noise, double mask_ratio) {
  working_weights_.Refresh(*this);
  const VisibleTokens visible = EmbedVisible(*patch_embed_, images, noise, mask_ratio, ClassToken(), pos_embed_);
  Encoded encoded;
  encoded.mask = visible.mask;
  encoded.ids_restore = visible.ids_restore;
  ResidualStream stream = {visible.tokens, {}, {}, {}};
  for (const auto& block : blocks_->blocks) {
    if (block == blocks_->blocks.front()) {
      stream = block->Leave(block->Enter(stream));
      continue;
    }
    // What the block before gave is a latent too.
    const LayerNorm& norm = *block->norm1;
    SumTwiceAndNorm in = NormOfShared(stream, norm.weight, norm.bias, norm.epsilon(), ProductType(stream.x));
    encoded.latents.push_back(std::move(in.again));
    stream = block->Leave({in.sum, block->attn->Project(in.normed)});
  }
  encoded.latents.push_back(norm_->forward(stream));
  return encoded;
}

at::Tensor TecModel::Adapt(const std::vector<at::Tensor>& latents, size_t base) {
  return predictions_[base].encoder_adaptor->forward(latents);
}

TecOutput TecModel::Decode(const at::Tensor& adapted, const at::Tensor& ids_restore, const at::Tensor& idx,
                           size_t base) {
  const Prediction& prediction = predictions_[base];
  FeatureDecoder& features = *prediction.forward_fea_decoder;
  BlockList& blocks = *prediction.decoder_blocks;
  const auto start = [&](auto& decoder) -> VisibleSequence {
    return {decoder.decoder_embed->forward(adapted), decoder.mask_token};
  };
  TecOutput output;
  if (!options_.pred_att) {
    const ResidualStream decoded = blocks.Through(Unshuffle({start(features)}, ids_restore, decoder_pos_embed_));
    output.feature_tokens = features.Predict(features.decoder_norm->ForProduct(decoded).normed);
    output.feature_prediction = output.feature_tokens.slice(1, 1);
    return output;
  }
  TEC_CHECK(idx.defined() && idx.dim() == 3 && idx.size(0) == adapted.size(0) && idx.size(1) == 1)
      << "with pred_att the base model's selected patches are needed, [" << adapted.size(0) << ", 1, K]";
  // The blocks are shared: both passes go through them as one batch of 2N.
  RelationDecoder& relations = *prediction.forward_att_decoder;
  const ResidualStream decoded =
      blocks.Through(Unshuffle({start(features), start(relations)}, ids_restore, decoder_pos_embed_));
  const LayerNorm &first = *features.decoder_norm, &second = *relations.decoder_norm;
  const std::array<at::Tensor, 2> normed = NormsOfHalves(
      decoded, {{{first.weight, first.bias}, {second.weight, second.bias}}}, first.epsilon(), ProductType(decoded.x));
  output.feature_tokens = features.Predict(normed[0]);
  output.feature_prediction = output.feature_tokens.slice(1, 1);
  output.relation_logits = relations.Predict(normed[1], idx);
  return output;
}

TecOutput TecModel::forward(const at::Tensor& images, const at::Tensor& noise, double mask_ratio,
                            const at::Tensor& idx) {
  const Encoded encoded = Encode(images, noise, mask_ratio);
  TecOutput output = Decode(Adapt(encoded.latents), encoded.ids_restore, idx);
  output.mask = encoded.mask;
  output.ids_restore = encoded.ids_restore;
  return output;
}

}  // namespace tec
