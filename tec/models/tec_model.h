// The new model: sees the visible patches and predicts, through the adaptor and two thin decoders, the base model's
// features and patch relations. (recipe.md section 3)

#ifndef TEC_MODELS_TEC_MODEL_H_
#define TEC_MODELS_TEC_MODEL_H_

#include <memory>
#include <vector>

#include "tec/models/options.h"
#include "tec/nn/encoder_adaptor.h"
#include "tec/nn/modules.h"
#include "tec/nn/working_weights.h"

namespace tec {

struct TecOutput {
  at::Tensor feature_tokens;      // [N, T, C of the base model]: what comes out of the head, [CLS] too.
  at::Tensor feature_prediction;  // [N, L, C of the base model]: of the patches, a view.
  at::Tensor relation_logits;     // [N, 1, 1+K, H of the base model, L]; undefined without pred_att.
  at::Tensor mask;                // F32 [N, L]: 0 kept, 1 removed.
  at::Tensor ids_restore;         // I64 [N, L]
};

// Parameter names and order: recipe.md section 3.2; the adaptor and decoders of further base models stand behind them
// as further_bases.<1, 2, ...>.{encoder_adaptor,forward_fea_decoder,forward_att_decoder,decoder_blocks}. Values are
// unset (position tables excepted) until InitialisePretraining or LoadState.
class TecModel : public torch::nn::Module {
 public:
  // Validate(options) must be OK.
  explicit TecModel(const TecOptions& options);

  // images [N, c, S, S], normalised; noise F32 [N, L] (MaskingNoise); idx I64 [N, 1, K] from the base model, needed
  // with pred_att and else ignored. Wrong shapes TEC_CHECK-fail, saying what was expected.
  TecOutput forward(const at::Tensor& images, const at::Tensor& noise, double mask_ratio, const at::Tensor& idx);

  // The steps of forward.

  struct Encoded {
    std::vector<at::Tensor> latents;  // D tensors [N, S, C]: block outputs, the last one after `norm`.
    at::Tensor mask, ids_restore;
  };
  // [1, 1, C]: the [CLS] token after the input adaptor.
  at::Tensor ClassToken();
  Encoded Encode(const at::Tensor& images, const at::Tensor& noise, double mask_ratio);
  // For a base model, 0 the first one -> [N, S, C].
  at::Tensor Adapt(const std::vector<at::Tensor>& latents, size_t base = 0);
  // Fills the feature predictions and relation_logits only, in the widths and heads of that base model.
  TecOutput Decode(const at::Tensor& adapted, const at::Tensor& ids_restore, const at::Tensor& idx, size_t base = 0);

  const TecOptions& options() const { return options_; }

 private:
  struct FeatureDecoder;
  struct RelationDecoder;
  // What the prediction of one base model's targets is made of.
  struct Prediction {
    std::shared_ptr<EncoderAdaptor> encoder_adaptor;
    std::shared_ptr<FeatureDecoder> forward_fea_decoder;
    std::shared_ptr<RelationDecoder> forward_att_decoder;  // Null without pred_att.
    std::shared_ptr<BlockList> decoder_blocks;             // Shared by both decoders.
  };
  // Registers its modules with `owner`.
  Prediction MakePrediction(torch::nn::Module& owner, const TecOptions::Target& target) const;

  TecOptions options_;
  at::Tensor cls_token_, pos_embed_, decoder_pos_embed_;
  std::shared_ptr<PatchEmbed> patch_embed_;
  std::shared_ptr<BlockList> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Mlp> cls_token_mlp_;   // Null without mlp_token.
  std::vector<Prediction> predictions_;  // One a base model.
  WorkingWeights working_weights_;
};

}  // namespace tec

#endif  // TEC_MODELS_TEC_MODEL_H_
