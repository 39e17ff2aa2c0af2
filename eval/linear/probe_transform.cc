#include "eval/linear/probe_transform.h"

#include <algorithm>
#include <cmath>

#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {

Box SingleDrawCrop(int height, int width, const CropOptions& options, RandomStream& stream) {
  TEC_CHECK(height >= 1 && width >= 1) << height << " x " << width;
  const double area = static_cast<double>(height) * width * stream.Uniform(options.scale_min, options.scale_max);
  const double aspect = std::exp(stream.Uniform(std::log(options.ratio_min), std::log(options.ratio_max)));
  // A side of 0 happens with pictures of a few pixels only; the reference fails there.
  const auto side = [](double wanted, int most) {
    return static_cast<int>(std::clamp<double>(std::nearbyint(wanted), 1, most));
  };
  Box box;
  box.width = side(std::sqrt(area * aspect), width);
  box.height = side(std::sqrt(area / aspect), height);
  box.top = static_cast<int>(stream.UniformInt(height - box.height + 1));
  box.left = static_cast<int>(stream.UniformInt(width - box.width + 1));
  return box;
}

absl::Status ProbeTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                   uint8_t* out) const {
  RandomStream stream(RandomKey{key.seed, RandomPurpose::kCrop, key.epoch, key.sample});
  Box box;
  const auto choose = [&](int height, int width) { return box = SingleDrawCrop(height, width, crop_, stream); };
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, choose, &scratch->decoded, channels_));
  const bool flip = stream.Bernoulli(0.5);
  ResizeBicubic(scratch->decoded, box, size_, size_, flip, &scratch->resize, out);
  return absl::OkStatus();
}

}  // namespace tec
