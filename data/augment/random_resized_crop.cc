#include "data/augment/random_resized_crop.h"

#include <algorithm>
#include <cmath>

#include "tec/base/logging.h"

namespace tec {
namespace {

// Python's int(round(x)): halves go to the even neighbour (the default rounding mode).
int Round(double x) { return static_cast<int>(std::nearbyint(x)); }

}  // namespace

Box RandomResizedCrop(int height, int width, const CropOptions& options, RandomStream& stream) {
  TEC_CHECK(height >= 1 && width >= 1) << height << " x " << width;
  const double area = static_cast<double>(height) * width;
  const double log_ratio_min = std::log(options.ratio_min), log_ratio_max = std::log(options.ratio_max);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * stream.Uniform(options.scale_min, options.scale_max);
    const double aspect = std::exp(stream.Uniform(log_ratio_min, log_ratio_max));
    const double crop_width = std::nearbyint(std::sqrt(target * aspect));
    const double crop_height = std::nearbyint(std::sqrt(target / aspect));
    if (crop_width < 1 || crop_width > width || crop_height < 1 || crop_height > height) continue;
    Box box;
    box.height = static_cast<int>(crop_height);
    box.width = static_cast<int>(crop_width);
    box.top = static_cast<int>(stream.UniformInt(height - box.height + 1));
    box.left = static_cast<int>(stream.UniformInt(width - box.width + 1));
    return box;
  }
  // The largest central crop whose aspect is allowed.
  const double ratio = static_cast<double>(width) / height;
  Box box{0, 0, height, width};
  if (ratio < options.ratio_min) {
    box.height = std::min(height, std::max(1, Round(width / options.ratio_min)));
  } else if (ratio > options.ratio_max) {
    box.width = std::min(width, std::max(1, Round(height * options.ratio_max)));
  }
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

}  // namespace tec
