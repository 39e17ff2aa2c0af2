// A crop at the size of a model that sees another one than the crop is.

#ifndef TEC_MODELS_FITTED_IMAGES_H_
#define TEC_MODELS_FITTED_IMAGES_H_

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace tec {

// images [N, c, S, S], normalised -> F32 [N, c, size, size], bicubic, antialiased; themselves where they have the size.
at::Tensor FittedImages(const at::Tensor& images, int64_t size);

}  // namespace tec

#endif  // TEC_MODELS_FITTED_IMAGES_H_
