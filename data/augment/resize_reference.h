// The slow, readable resize.

#ifndef TEC_DATA_AUGMENT_RESIZE_REFERENCE_H_
#define TEC_DATA_AUGMENT_RESIZE_REFERENCE_H_

#include "data/augment/random_resized_crop.h"
#include "data/augment/resize.h"
#include "data/image/image.h"

namespace tec {

// What Resize computes, one pixel at a time, with fresh weights for each.
Image ResizeReference(ResizeFilter filter, const Image& source, const Box& box, int height, int width, bool flip);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RESIZE_REFERENCE_H_
