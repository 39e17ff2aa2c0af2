#include "tec/models/fitted_images.h"

#include "ATen/ops/_upsample_bicubic2d_aa.h"
#include "tec/nn/autocast.h"

namespace tec {

at::Tensor FittedImages(const at::Tensor& images, int64_t size) {
  if (images.size(2) == size && images.size(3) == size) return images;
  AutocastGuard float32(images.device().type(), at::kFloat);
  return at::_upsample_bicubic2d_aa(images.to(at::kFloat), {size, size}, /*align_corners=*/false);
}

}  // namespace tec
