// What a user said of a weight file, in the results of who judges it: a report opens the file by it again.

#ifndef TEC_EVAL_PROGRAM_TOLD_ENCODER_H_
#define TEC_EVAL_PROGRAM_TOLD_ENCODER_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tec/checkpoint/families/vit_file.h"

namespace tec {

// Adds {"told": {"family": "clip", "entry": "teacher", "heads": 4, "grid": "14x16"}} to results.json, each only where
// it was said; nothing where nothing was.
void RecordTold(const VitRequest& request, nlohmann::ordered_json* results);

// Back from results.json. Nothing said where it has no such entry; InvalidArgument where that makes no sense.
absl::StatusOr<VitRequest> ToldIn(const nlohmann::json& results);

}  // namespace tec

#endif  // TEC_EVAL_PROGRAM_TOLD_ENCODER_H_
