#include "data/loader/transform.h"

#include <vector>

#include "data/image/decode.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {

void TransformScratch::GiveBackLarge() {
  if (decoded.pixels.capacity_bytes() > kMostKeptBytes) decoded.pixels = Image();
  if (resize.pixels.capacity() > kMostKeptBytes) resize.pixels = std::vector<uint8_t>();
}

TrainTransform::TrainTransform(const Options& options) : options_(options) {
  const CropOptions& crop = options_.crop;
  TEC_CHECK_GE(options_.size, 1);
  TEC_CHECK_GE(options_.channels, 1);
  TEC_CHECK(crop.scale_min > 0 && crop.scale_min <= crop.scale_max) << crop.scale_min << " " << crop.scale_max;
  TEC_CHECK(crop.ratio_min > 0 && crop.ratio_min <= crop.ratio_max) << crop.ratio_min << " " << crop.ratio_max;
  TEC_CHECK(options_.flip_probability >= 0 && options_.flip_probability <= 1) << options_.flip_probability;
}

absl::Status TrainTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                   uint8_t* out) const {
  RandomStream stream(RandomKey{key.seed, RandomPurpose::kCrop, key.epoch, key.sample});
  Box box;
  const auto choose = [&](int height, int width) {
    return box = RandomResizedCrop(height, width, options_.crop, stream);
  };
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, choose, &scratch->decoded, options_.channels));
  const bool flip = stream.Bernoulli(options_.flip_probability);
  Resize(options_.filter, scratch->decoded, box, options_.size, options_.size, flip, &scratch->resize, out);
  return absl::OkStatus();
}

EvalTransform::EvalTransform(int size, int channels) : size_(size), channels_(channels) {
  TEC_CHECK(size >= 1 && channels >= 1) << size << " " << channels;
}

absl::Status EvalTransform::Apply(absl::string_view encoded, const SampleKey&, TransformScratch* scratch,
                                  uint8_t* out) const {
  const auto choose = [this](int height, int width) { return EvalCropSource(height, width, size_); };
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, choose, &scratch->decoded, channels_));
  EvalCrop(scratch->decoded, size_, &scratch->resize, out);
  return absl::OkStatus();
}

}  // namespace tec
