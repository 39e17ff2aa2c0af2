// What finetuning's augmentation makes of one picture, for eyes.

#ifndef TEC_TOOLS_AUGMENT_PREVIEW_PREVIEW_H_
#define TEC_TOOLS_AUGMENT_PREVIEW_PREVIEW_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/augment/augment_op.h"
#include "data/augment/random_erasing.h"
#include "data/image/image.h"
#include "data/loader/finetune_transform.h"

namespace tec {

struct PreviewOptions {
  int samples = 16;    // At least 1: epochs 0 to samples - 1 of a run.
  uint64_t seed = 5;   // The run's.
  uint64_t index = 0;  // The picture's number in the data set.
  EraseOptions erasing;
  std::array<double, 3> mean = {0.485, 0.456, 0.406}, std = {0.229, 0.224, 0.225};
  // In the place of what is drawn, for every sample.
  std::optional<std::vector<AugmentStep>> pinned;
};

struct Preview {
  std::vector<Image> tiles;               // [samples], the transform's size.
  std::vector<std::string> descriptions;  // [samples], of what was done.
};

// The crops, operations and boxes are those that //eval:finetune draws for this seed, data set index and epoch; erased
// values are shown as colours, cut off at black and white. Mixing takes two pictures and is not shown.
Preview MakePreview(const Image& image, const FinetuneTransform& transform, const PreviewOptions& options);

}  // namespace tec

#endif  // TEC_TOOLS_AUGMENT_PREVIEW_PREVIEW_H_
