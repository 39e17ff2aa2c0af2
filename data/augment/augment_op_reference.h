// The operations on values in the plainest words, for tests: a pixel or a histogram at a time, as Pillow 13 and timm
// 0.3.2 say them.

#ifndef TEC_DATA_AUGMENT_AUGMENT_OP_REFERENCE_H_
#define TEC_DATA_AUGMENT_AUGMENT_OP_REFERENCE_H_

#include "data/augment/augment_op.h"
#include "data/image/image.h"

namespace tec {

// What ApplyAugmentOp makes of an RGB image; of all operations but rotate, shear and translate, which abort.
Image AugmentOpReference(const Image& image, AugmentOp op, double argument);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_AUGMENT_OP_REFERENCE_H_
