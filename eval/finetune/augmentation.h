// What is random about finetuning's pictures and targets, from the settings: the transform of the loader, erasing, and
// mixing. No tensors.

#ifndef TEC_EVAL_FINETUNE_AUGMENTATION_H_
#define TEC_EVAL_FINETUNE_AUGMENTATION_H_

#include <memory>

#include "absl/status/statusor.h"
#include "data/augment/mix.h"
#include "data/augment/random_erasing.h"
#include "data/loader/finetune_transform.h"
#include "tec/config/finetune.pb.h"

namespace tec {

struct FinetuneAugmentation {
  std::shared_ptr<const FinetuneTransform> transform;
  EraseOptions erasing;
  MixOptions mixing;
};

// `resolved`: valid (tec/config/finetune.h), with an image size. InvalidArgument, naming the flag, for --aa that is not
// RandAugment's settings, and where --cutmix_minmax leaves no box at this image size.
absl::StatusOr<FinetuneAugmentation> AugmentationOf(const config::Finetune& resolved);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_AUGMENTATION_H_
