// The flags with which a user says of a weight file what it does not tell itself: one table for all programs.
//
//   --family --entry --heads --grid        of the file that a program works on
//   --base_model_family, _entry, _grid     the same; of the base model's file in pretraining (base_model_flags.h)

#ifndef TEC_CONFIG_VIT_FLAGS_H_
#define TEC_CONFIG_VIT_FLAGS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/config/flag_parser.h"

namespace tec {

// For programs that take the values by VitRequestFromFlags.
std::vector<FlagSpec> VitFlags();
// For finetuning: they set fields of its message.
std::vector<FlagSpec> VitFlagsOfFinetune();

// InvalidArgument names the flag.
absl::StatusOr<VitRequest> VitRequestFromFlags();

}  // namespace tec

#endif  // TEC_CONFIG_VIT_FLAGS_H_
