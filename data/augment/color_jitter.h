// torchvision's ColorJitter, what `--color_jitter` asks for where RandAugment is off (recipe.md sections 9 and 13.3).
// Parameters only; augment_op.h has the pixels.

#ifndef TEC_DATA_AUGMENT_COLOR_JITTER_H_
#define TEC_DATA_AUGMENT_COLOR_JITTER_H_

#include <vector>

#include "data/augment/augment_op.h"
#include "tec/base/random.h"

namespace tec {

// Brightness, contrast and colour, each by a factor uniform in [max(0, 1 - strength), 1 + strength], in random order.
// strength >= 0; 0: no step. Draws the order, then the three factors.
std::vector<AugmentStep> DrawColorJitter(double strength, RandomStream& stream);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_COLOR_JITTER_H_
