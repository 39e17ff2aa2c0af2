#include "tec/config/encoder_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/training_state.h"

namespace tec {

absl::StatusOr<EncoderFile> ReadEncoderFile(const std::string& path, VitRequest request) {
  EncoderFile file;
  // Any other file than a checkpoint of ours is none.
  if (const absl::StatusOr<TrainingState> state = LoadTrainingState(path); state.ok()) {
    TEC_ASSIGN_OR_RETURN(file.record, RecordOf(*state, path));
    file.method = state->method;
    file.epoch = state->epoch;
  }
  if (file.record.has_value()) {
    const config::Vit& encoder = file.record->encoder;
    if (request.heads > 0 && encoder.heads() > 0 && request.heads != encoder.heads()) {
      return absl::InvalidArgumentError(absl::StrCat("--heads=", request.heads, ", but ", path, " says that it has ",
                                                     encoder.heads(), "; leave the flag out"));
    }
    request.heads = encoder.heads();
  }
  TEC_ASSIGN_OR_RETURN(file.vit, ReadVitFile(path, request));
  if (file.record.has_value() && file.record->norm_epsilon > 0) {
    file.vit.plan.traits.norm_epsilon = file.record->norm_epsilon;
  }
  return file;
}

}  // namespace tec
