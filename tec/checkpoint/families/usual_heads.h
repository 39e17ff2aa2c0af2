// The number of attention heads leaves no trace in a ViT's tensors.

#ifndef TEC_CHECKPOINT_FAMILIES_USUAL_HEADS_H_
#define TEC_CHECKPOINT_FAMILIES_USUAL_HEADS_H_

#include <cstdint>

namespace tec {

// Heads of the published ViTs of this width, which agree: tiny to huge, DINOv2's and CLIP's giant ones. 0 for a width
// that none of them has: a guess would give another function without a word.
int64_t UsualHeads(int64_t width);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_USUAL_HEADS_H_
