#include "tec/config/run_record.h"

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"

namespace tec {

absl::StatusOr<std::optional<RunRecord>> RecordOf(const TrainingState& state, const std::string& path) {
  // A probe's file has no encoder.
  if (state.experiment.empty() || state.method == "linear") return std::optional<RunRecord>();
  const std::string where = absl::StrCat(path, " (its experiment)");
  RunRecord record;
  if (state.method == "finetune") {
    TEC_ASSIGN_OR_RETURN(config::Finetune finetune, ParseFinetune(state.experiment, where));
    finetune = Resolve(finetune);
    record = {finetune.encoder(), finetune.norm_epsilon(), finetune.data(), finetune};
  } else {
    TEC_ASSIGN_OR_RETURN(config::Experiment experiment, ParseExperiment(state.experiment, where));
    experiment = Resolve(experiment);
    record = {experiment.model().encoder(), /*norm_epsilon=*/0, experiment.data(), std::nullopt};
  }
  return std::optional<RunRecord>(std::move(record));
}

}  // namespace tec
