// Settings for somebody's own pictures and base model. The reference's defaults are for ImageNet, ViT-L and many GPUs;
// here the new model is as large as the base model is, and the rest follows from how many pictures there are and what
// the device holds:
//
//   epochs          300 x sqrt(1e6 / images), 100 to 1600: the paper's 300 for a million; fewer pictures, more epochs
//   warm-up         a tenth of them, at most the paper's 40
//   images an update  the power of two below images / 64, 32 to 4096: 64 updates an epoch and more
//   rate            the paper's 2.4e-3 at 4096, by the square root of the images an update
//   K, tau          the paper's for the base model's family: 15 and 1.8 (1.4 for 24 blocks) for MAE, which is what a
//   file
//                   that only says "a plain ViT" is taken for; 9 and 1 for all others. For other grids than 14 x 14, K
//                   by the square root of the number of patches, and MAE's tau towards 1 at 8 x 8, where 9 and 1 were
//                   tried
//
// What is here beside the paper's numbers is ours: chosen to be safe, measured for the small chain of docs/results.md
// alone.

#ifndef TEC_CONFIG_OWN_IMAGES_H_
#define TEC_CONFIG_OWN_IMAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "tec/config/experiment.pb.h"

namespace tec {

inline constexpr char kOwnImages[] = "own_images";

// What the settings follow from.
struct OwnImagesFacts {
  // Of the base model's file: every size, image_size being what its position table is made for.
  config::Vit base;
  int64_t channels = 3;
  std::string family;                   // As recognised or forced (tec/checkpoint/families).
  bool interpolates_positions = false;  // Of itself, to other image sizes.
  int64_t images = 0;                   // For training.
  int64_t memory = 0;                   // Bytes that the device has for one process.
  bool gpu = false;
  int64_t world_size = 1;  // Processes.
};

// Sets in `experiment`, which is ReferenceExperiment(), what follows from the facts, and then all that `given` sets: a
// given value wins, and what depends on it follows it. Not resolved. InvalidArgument: no images.
absl::Status FillOwnImages(const OwnImagesFacts& facts, const config::Experiment& given,
                           config::Experiment* experiment);

// The paper's K and tau for a base model of that family, depth and grid, as above.
struct RelationTargets {
  int64_t selected = 0;  // K
  double tau = 1;
};
RelationTargets RelationTargetsFor(const std::string& family, int64_t depth, int64_t grid);

// Bytes that one image takes in a training step of a resolved experiment, beside the weights: 48 MB for ViT-B/16 in
// bfloat16, as measured on an H200 (docs/results.md), and in proportion to tokens, widths, blocks and bytes a number.
double ActivationBytesPerImage(const config::Experiment& resolved);

// "own_images: 12000 images, 1600 epochs of 93 updates of 128 images: 148800 updates, about 31 hours on cuda". Of a
// resolved experiment. `flops_per_second`: of one process in training; `decoded_per_second`: images that its threads
// can decode. 0: not known.
std::string DescribeOwnImages(const OwnImagesFacts& facts, const config::Experiment& resolved, double flops_per_second,
                              double decoded_per_second);

}  // namespace tec

#endif  // TEC_CONFIG_OWN_IMAGES_H_
