#include "tools/augment_preview/preview.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tec/base/random.h"

namespace tec {
namespace {

// What the normalised value would have been as a pixel.
uint8_t Pixel(float value, double mean, double std) {
  return static_cast<uint8_t>(std::lround(std::clamp((value * std + mean) * 255, 0.0, 255.0)));
}

void Show(const ErasedBox& erased, const PreviewOptions& options, Image* tile) {
  const Box& box = erased.box;
  const bool whole = erased.values.size() == 3;
  for (int y = 0; y < box.height; ++y) {
    for (int x = 0; x < box.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const size_t at = whole ? c : (static_cast<size_t>(c) * box.height + y) * box.width + x;
        tile->row(box.top + y)[3 * (box.left + x) + c] = Pixel(erased.values[at], options.mean[c], options.std[c]);
      }
    }
  }
}

}  // namespace

Preview MakePreview(const Image& image, const FinetuneTransform& transform, const PreviewOptions& options) {
  Preview preview;
  TransformScratch scratch;
  const int size = transform.size();
  for (int epoch = 0; epoch < options.samples; ++epoch) {
    const SampleKey key{options.seed, static_cast<uint64_t>(epoch), options.index};
    SampleAugmentation drawn = transform.Draw(image.height(), image.width(), key);
    if (options.pinned) drawn.steps = *options.pinned;
    Image tile(size, size);
    transform.Paint(image, drawn, &scratch, tile.data());
    std::string description = SampleAugmentationToText(drawn);
    RandomStream stream(RandomKey{key.seed, RandomPurpose::kErase, key.epoch, key.sample});
    for (const ErasedBox& erased : DrawErasing(options.erasing, size, size, stream)) {
      Show(erased, options, &tile);
      absl::StrAppend(&description, ", erased rows ", erased.box.top, "-", erased.box.top + erased.box.height,
                      " columns ", erased.box.left, "-", erased.box.left + erased.box.width);
    }
    preview.tiles.push_back(std::move(tile));
    preview.descriptions.push_back(std::move(description));
  }
  return preview;
}

}  // namespace tec
