#include "data/loader/finetune_transform.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "data/augment/color_jitter.h"
#include "data/image/decode.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {

std::string SampleAugmentationToText(const SampleAugmentation& drawn) {
  const Box& crop = drawn.crop;
  std::string text = absl::StrCat("crop rows ", crop.top, "-", crop.top + crop.height, " columns ", crop.left, "-",
                                  crop.left + crop.width, drawn.flip ? ", flip" : "");
  if (!drawn.steps.empty()) absl::StrAppend(&text, ", ", AugmentStepsToText(drawn.steps));
  return text;
}

FinetuneTransform::FinetuneTransform(const Options& options) : options_(options) {
  const TrainTransform checked(options.crop);
  TEC_CHECK(options.color_jitter >= 0) << options.color_jitter;
  TEC_CHECK(options.crop.channels == 3 || (!options.rand_augment && options.color_jitter == 0)) << "RGB alone";
  TEC_CHECK(!options.rand_augment || options.color_jitter == 0) << "colour jitter goes without RandAugment";
}

SampleAugmentation FinetuneTransform::Draw(int height, int width, const SampleKey& key) const {
  SampleAugmentation drawn;
  RandomStream crop(RandomKey{key.seed, RandomPurpose::kCrop, key.epoch, key.sample});
  drawn.crop = RandomResizedCrop(height, width, options_.crop.crop, crop);
  drawn.flip = crop.Bernoulli(options_.crop.flip_probability);
  RandomStream steps(RandomKey{key.seed, RandomPurpose::kRandAugment, key.epoch, key.sample});
  drawn.steps = options_.rand_augment ? DrawRandAugment(*options_.rand_augment, steps)
                                      : DrawColorJitter(options_.color_jitter, steps);
  return drawn;
}

template <typename Source>
void FinetuneTransform::PaintFrom(const Source& image, const SampleAugmentation& drawn, TransformScratch* scratch,
                                  uint8_t* out) const {
  const int size = options_.crop.size;
  ResizeBicubic(image, drawn.crop, size, size, drawn.flip, &scratch->resize, out);
  for (const AugmentStep& step : drawn.steps) {
    ApplyAugmentOp(step.op, step.argument, options_.style, size, size, &scratch->augment, out);
  }
}

void FinetuneTransform::Paint(const Image& image, const SampleAugmentation& drawn, TransformScratch* scratch,
                              uint8_t* out) const {
  PaintFrom(image, drawn, scratch, out);
}

absl::Status FinetuneTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                      uint8_t* out) const {
  SampleAugmentation drawn;
  const auto choose = [&](int height, int width) {
    drawn = Draw(height, width, key);
    return drawn.crop;
  };
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, choose, &scratch->decoded, options_.crop.channels));
  PaintFrom(scratch->decoded, drawn, scratch, out);
  return absl::OkStatus();
}

std::array<uint8_t, 3> FinetuneTransform::FillOf(const std::array<double, 3>& mean) {
  std::array<uint8_t, 3> fill;
  // Python's round(): halves go to the even neighbour.
  for (int c = 0; c < 3; ++c) fill[c] = static_cast<uint8_t>(std::clamp(std::nearbyint(255 * mean[c]), 0.0, 255.0));
  return fill;
}

}  // namespace tec
