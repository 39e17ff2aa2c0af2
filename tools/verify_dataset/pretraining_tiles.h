// What pretraining makes of one picture, for eyes.

#ifndef TEC_TOOLS_VERIFY_DATASET_PRETRAINING_TILES_H_
#define TEC_TOOLS_VERIFY_DATASET_PRETRAINING_TILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/image/image.h"

namespace tec {

struct PretrainingTilesOptions {
  int size = 224, patch_size = 16;
  double mask_ratio = 0.75;
  uint64_t seed = 5;
  uint64_t index = 0;  // The picture's number in the data set.
};

// Three RGB tiles, size x size: the whole picture, scaled to fit; the crop that a run with that seed takes in epoch 0
// (TrainTransform with the reference's settings); the same crop with the patches that the new model does not see in
// grey. Errors are DecodeImage's.
absl::StatusOr<std::vector<Image>> PretrainingTiles(const std::string& encoded, const PretrainingTilesOptions& options);

}  // namespace tec

#endif  // TEC_TOOLS_VERIFY_DATASET_PRETRAINING_TILES_H_
