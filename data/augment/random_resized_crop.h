// Where a random crop lies: parameters only, no pixels.

#ifndef TEC_DATA_AUGMENT_RANDOM_RESIZED_CROP_H_
#define TEC_DATA_AUGMENT_RANDOM_RESIZED_CROP_H_

#include "data/image/box.h"
#include "tec/base/random.h"

namespace tec {

struct CropOptions {
  // Area of the crop over the image's: 0 < scale_min <= scale_max.
  double scale_min = 0.2;
  double scale_max = 1.0;
  // Width over height of the crop: 0 < ratio_min <= ratio_max.
  double ratio_min = 3.0 / 4.0;
  double ratio_max = 4.0 / 3.0;
};

// torchvision's RandomResizedCrop.get_params (recipe.md section 7): up to 10 tries of area and aspect, then the central
// crop with the aspect clamped. height, width >= 1; the result lies inside the image and is not empty.
Box RandomResizedCrop(int height, int width, const CropOptions& options, RandomStream& stream);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RANDOM_RESIZED_CROP_H_
