// The number of attention heads leaves no trace in a ViT's tensors.

#ifndef TEC_CHECKPOINT_FAMILIES_USUAL_HEADS_H_
#define TEC_CHECKPOINT_FAMILIES_USUAL_HEADS_H_

#include <cstdint>

namespace tec {

// Heads of most published ViTs of this width: timm's from wee to gigantic, DINOv2's and CLIP's giant ones. 0 for a
// width that none of them has. Others exist (MoCo v3's small one), so whoever takes the number says so.
int64_t UsualHeads(int64_t width);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_USUAL_HEADS_H_
