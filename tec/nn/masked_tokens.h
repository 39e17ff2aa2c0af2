// The way into a masked encoder and out of it: tokens of the visible patches, and all tokens put back in their places.

#ifndef TEC_NN_MASKED_TOKENS_H_
#define TEC_NN_MASKED_TOKENS_H_

#include <vector>

#include "tec/nn/modules.h"

namespace tec {

struct VisibleTokens {
  at::Tensor tokens;       // [N, 1+V, C]: [CLS] and the kept patches, in shuffled order, with their positions.
  at::Tensor mask;         // F32 [N, L]: 0 kept, 1 removed.
  at::Tensor ids_restore;  // I64 [N, L]
};

// images [N, c, S, S]; noise F32 [N, L]; cls_token [1, 1, C]; positions [1, T, C]. TEC_CHECK-fails on other shapes.
// (recipe.md section 3.1, steps 1 to 4)
VisibleTokens EmbedVisible(PatchEmbed& patch_embed, const at::Tensor& images, const at::Tensor& noise,
                           double mask_ratio, const at::Tensor& cls_token, const at::Tensor& positions);

// What one decoder has of the visible tokens.
struct VisibleSequence {
  at::Tensor x;           // [N, 1+V, W]: [CLS] and the visible patches in shuffled order; also of a low precision.
  at::Tensor mask_token;  // F32 (or F64) [1, 1, W]
};

// The input of M decoders, at most 4, one after another: F32 (or F64) [M*N, T, W]. [CLS], then every patch at its
// place, a removed one as the mask token; positions [1, T, W], without gradient, are added. ids_restore I64 [N, L], a
// permutation in each row. One pass each way: backward copies rows to where they came from and sums the others.
// (step 7)
at::Tensor Unshuffle(const std::vector<VisibleSequence>& sequences, const at::Tensor& ids_restore,
                     const at::Tensor& positions);

}  // namespace tec

#endif  // TEC_NN_MASKED_TOKENS_H_
