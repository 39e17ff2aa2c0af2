// The checks of stored numbers, one for each kind of file in tec/testing/goldens/README.md. Each runs the product's own
// code on the inputs of the item's files and compares with what the reference gave, to the README's tolerances. Sizes
// come from the files. The item's name tells the files: "full_base" reads full_base.json and full_base.safetensors.

#ifndef TEC_TOOLS_GOLDENS_CHECKS_H_
#define TEC_TOOLS_GOLDENS_CHECKS_H_

#include "absl/status/status.h"
#include "tools/goldens/golden_item.h"

namespace tec {

// check_models.cc
absl::Status CheckTec(GoldenItem& item);            // tec_tiny, tec_tiny_plain
absl::Status CheckBaseModel(GoldenItem& item);      // teacher_tiny
absl::Status CheckFinetuneModel(GoldenItem& item);  // finetune_tiny

// check_full_size.cc
absl::Status CheckFullSize(GoldenItem& item);  // full_base, full_large

// check_trajectories.cc
absl::Status CheckPretrainTrajectory(GoldenItem& item);
absl::Status CheckFinetuneTrajectory(GoldenItem& item);

// check_mixup.cc
absl::Status CheckMixup(GoldenItem& item);

// check_tables.cc
absl::Status CheckSchedules(GoldenItem& item);
absl::Status CheckPositions(GoldenItem& item);    // pos_embed
absl::Status CheckMasking(GoldenItem& item);      // masking
absl::Status CheckMaskingKept(GoldenItem& item);  // masking_kept
absl::Status CheckLayerDecay(GoldenItem& item);   // layer_decay_groups

// check_evaluation.cc
absl::Status CheckKnn(GoldenItem& item);
absl::Status CheckMetrics(GoldenItem& item);
absl::Status CheckLinearProbe(GoldenItem& item);  // linprobe

// check_pictures.cc
absl::Status CheckImages(GoldenItem& item);  // images/
absl::Status CheckResize(GoldenItem& item);
absl::Status CheckRandAugment(GoldenItem& item);

// check_checkpoints.cc
absl::Status CheckCheckpoints(GoldenItem& item);    // checkpoints/
absl::Status CheckWeightConvert(GoldenItem& item);  // weight_convert/
absl::Status CheckInventory(GoldenItem& item);      // inventory.json, against the files beside it

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_CHECKS_H_
