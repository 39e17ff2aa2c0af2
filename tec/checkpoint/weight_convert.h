// The paper's weight_convert: from a pretraining checkpoint to the weights of a plain ViT.

#ifndef TEC_CHECKPOINT_WEIGHT_CONVERT_H_
#define TEC_CHECKPOINT_WEIGHT_CONVERT_H_

#include "absl/status/statusor.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

// `model`: the "model" entry of a TEC pretraining checkpoint. Gives cls_token, pos_embed, patch_embed.proj.*, blocks.*:
// cls_token_mlp is folded into cls_token, everything else is as it was; no final norm, because finetuning trains its
// own (recipe.md section 14). What only pretraining needs is left out. A model without cls_token_mlp is taken as it is.
// InvalidArgument lists what is missing, unexpected or mis-shaped.
absl::StatusOr<StateDict> WeightConvert(const StateDict& model);

// Every floating-point tensor as `dtype` (elements.h, Cast); the others as they are. InvalidArgument: a value that is
// finite, and too large for the type.
absl::StatusOr<StateDict> CastAll(const StateDict& tensors, DType dtype);

}  // namespace tec

#endif  // TEC_CHECKPOINT_WEIGHT_CONVERT_H_
