// The encoder's tensors out of the state dict of whatever model it was trained in.

#ifndef TEC_MODELS_ENCODER_STATE_H_
#define TEC_MODELS_ENCODER_STATE_H_

#include "absl/status/statusor.h"
#include "tec/nn/module_state.h"

namespace tec {

// The tensors of a plain ViT (cls_token, pos_embed, patch_embed.*, blocks.*, norm.* if present) out of the state dict
// of a TEC or MAE model or of a ViT. `cls_token_mlp` is folded: cls_token <- cls_token_mlp(cls_token), which is exact
// because the position row of [CLS] is zero. What belongs to pretraining or to a classifier (adaptors, decoders, mask
// tokens, head, fc_norm) is left out by name; other names stay in and make LoadState fail. InvalidArgument if
// cls_token_mlp is there in part or does not fit cls_token.
absl::StatusOr<TensorMap> EncoderState(const TensorMap& state);

// Whether `name` belongs to what only pretraining needs: adaptor, decoders, mask tokens.
bool IsPretrainingOnly(const std::string& name);

}  // namespace tec

#endif  // TEC_MODELS_ENCODER_STATE_H_
