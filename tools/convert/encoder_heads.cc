#include "tools/convert/encoder_heads.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/usual_heads.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/run_record.h"

namespace tec {

absl::StatusOr<int64_t> EncoderHeads(const std::string& path, const VitTraits& traits, int64_t given) {
  int64_t heads = given != 0 ? given : traits.heads;
  if (heads == 0) {
    // Any other file than a checkpoint of ours is none.
    if (const absl::StatusOr<TrainingState> state = LoadTrainingState(path); state.ok()) {
      TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(*state, path));
      if (record) heads = record->encoder.heads();
    }
  }
  if (heads == 0) heads = UsualHeads(traits.width);
  if (heads == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   " does not tell the number of attention heads, and its width, ",
                                                   traits.width, ", is not one of the usual ones: give --heads"));
  }
  if (heads < 0 || traits.width % heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(heads, " attention heads do not divide the width ", traits.width));
  }
  return heads;
}

}  // namespace tec
