// Pillow's resize(NEAREST), bit for bit, for masks, whose numbers must not be mixed.

#ifndef TEC_DATA_AUGMENT_RESIZE_NEAREST_H_
#define TEC_DATA_AUGMENT_RESIZE_NEAREST_H_

#include <cstdint>

#include "data/image/image.h"

namespace tec {

// Writes uint8 [height, width, channels of `source`] to `out`. All sizes >= 1.
void ResizeNearest(const Image& source, int height, int width, uint8_t* out);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RESIZE_NEAREST_H_
