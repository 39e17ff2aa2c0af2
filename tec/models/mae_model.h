// Masked autoencoder, to make base models. (recipe.md section 15)

#ifndef TEC_MODELS_MAE_MODEL_H_
#define TEC_MODELS_MAE_MODEL_H_

#include <memory>

#include "tec/models/options.h"
#include "tec/nn/modules.h"
#include "tec/nn/working_weights.h"

namespace tec {

struct MaeOutput {
  at::Tensor prediction;   // [N, L, P*P*c]: inside a patch row, column, channel.
  at::Tensor mask;         // F32 [N, L]: 0 kept, 1 removed.
  at::Tensor ids_restore;  // I64 [N, L]
};

// State: cls_token, pos_embed, mask_token, decoder_pos_embed, patch_embed.*, blocks.*, norm.*, decoder_embed.*,
// decoder_blocks.*, decoder_norm.*, decoder_pred.*. Values are unset (position tables excepted) until
// InitialisePretraining or LoadState.
class MaeModel : public torch::nn::Module {
 public:
  // Validate(options) must be OK.
  explicit MaeModel(const MaeOptions& options);

  // images [N, c, S, S], normalised; noise F32 [N, L] (MaskingNoise). The loss is PixelLoss (tec/losses/losses.h).
  MaeOutput forward(const at::Tensor& images, const at::Tensor& noise, double mask_ratio);

  const MaeOptions& options() const { return options_; }

 private:
  MaeOptions options_;
  at::Tensor cls_token_, pos_embed_, mask_token_, decoder_pos_embed_;
  std::shared_ptr<PatchEmbed> patch_embed_;
  std::shared_ptr<BlockList> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> decoder_embed_;
  std::shared_ptr<BlockList> decoder_blocks_;
  std::shared_ptr<LayerNorm> decoder_norm_;
  std::shared_ptr<Linear> decoder_pred_;
  WorkingWeights working_weights_;
};

}  // namespace tec

#endif  // TEC_MODELS_MAE_MODEL_H_
