// Encoders of other projects as a checkpoint of this one keeps them: tensors under the names of a plan (vit_plan.h),
// and a record of what leaves no tensor. A finetuned CLIP or DINOv2 is so read back by every program, without a flag
// and without anything assumed.
//
// The record stands in a checkpoint's args, beside the run's arguments. A plain ViT, which MAE's, TEC's and most
// finetuned models are, has none: timm's names tell all of it.

#ifndef TEC_CHECKPOINT_FAMILIES_OWN_ENCODER_H_
#define TEC_CHECKPOINT_FAMILIES_OWN_ENCODER_H_

#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/value.h"

namespace tec {

struct OwnEncoder {
  std::string family;  // Of the file that the encoder came from first.
  VitTraits traits;    // As it is now. `assumed` and final_norm are no part of a record.
};

// The key of a record in TrainingState::args. Written into files: never rename.
inline constexpr char kEncoderRecord[] = "encoder";

// The record, and back. InvalidArgument names the entry that is missing or makes no sense.
Value RecordOfEncoder(const OwnEncoder& encoder);
absl::StatusOr<OwnEncoder> EncoderOfRecord(const Value& record);

// The record in a checkpoint's args, and in the root of its file; nullptr if there is none.
const Value* EncoderRecordIn(const Value& args);
const Value* FindEncoderRecord(const Value& root);

// The plan of a file with that record; keep_token_mlp as in VitHints. InvalidArgument lists every tensor that is
// missing, unexpected or of another shape.
absl::StatusOr<VitPlan> PlanOwnEncoder(const OwnEncoder& encoder, const StateDict& tensors, bool keep_token_mlp);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_OWN_ENCODER_H_
