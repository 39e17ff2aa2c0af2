#include "data/loader/transform.h"

#include "data/image/decode.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {

TrainTransform::TrainTransform(const Options& options) : options_(options) {
  const CropOptions& crop = options_.crop;
  TEC_CHECK_GE(options_.size, 1);
  TEC_CHECK(crop.scale_min > 0 && crop.scale_min <= crop.scale_max) << crop.scale_min << " " << crop.scale_max;
  TEC_CHECK(crop.ratio_min > 0 && crop.ratio_min <= crop.ratio_max) << crop.ratio_min << " " << crop.ratio_max;
  TEC_CHECK(options_.flip_probability >= 0 && options_.flip_probability <= 1) << options_.flip_probability;
}

absl::Status TrainTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                   uint8_t* out) const {
  TEC_RETURN_IF_ERROR(DecodeImage(encoded, &scratch->decoded));
  const Image& image = scratch->decoded;
  RandomStream stream(RandomKey{key.seed, RandomPurpose::kCrop, key.epoch, key.sample});
  const Box box = RandomResizedCrop(image.height(), image.width(), options_.crop, stream);
  const bool flip = stream.Bernoulli(options_.flip_probability);
  ResizeBicubic(image, box, options_.size, options_.size, flip, &scratch->resize, out);
  return absl::OkStatus();
}

EvalTransform::EvalTransform(int size) : size_(size) { TEC_CHECK_GE(size, 1); }

absl::Status EvalTransform::Apply(absl::string_view encoded, const SampleKey&, TransformScratch* scratch,
                                  uint8_t* out) const {
  TEC_RETURN_IF_ERROR(DecodeImage(encoded, &scratch->decoded));
  EvalCrop(scratch->decoded, size_, &scratch->resize, out);
  return absl::OkStatus();
}

}  // namespace tec
