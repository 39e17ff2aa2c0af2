#include "tec/train/base_statistics.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/run_record.h"

namespace tec {
namespace {

// Of a checkpoint of this project: what its images were normalised by. Empty for other files.
absl::StatusOr<ImageStatistics> RecordedStatistics(const std::string& path) {
  ImageStatistics statistics;
  const absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  if (!state.ok()) return statistics;
  TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(*state, path));
  if (!record.has_value()) return statistics;
  statistics.mean.assign(record->data.mean().begin(), record->data.mean().end());
  statistics.std.assign(record->data.std().begin(), record->data.std().end());
  statistics.source = "recorded in the checkpoint";
  return statistics;
}

std::string Text(const std::vector<float>& mean, const std::vector<float>& std) {
  return absl::StrCat("mean ", absl::StrJoin(mean, ","), ", deviation ", absl::StrJoin(std, ","));
}

}  // namespace

absl::Status UseOwnStatistics(const VitFile& file, const config::Data& data, BaseModel* model) {
  const std::vector<float> mean(data.mean().begin(), data.mean().end()), std(data.std().begin(), data.std().end());
  TEC_ASSIGN_OR_RETURN(ImageStatistics own, RecordedStatistics(file.path));
  if (!own.known()) own = file.statistics;
  if (own.mean.size() != mean.size() || own.std.size() != std.size()) {
    TEC_LOG(INFO) << "base model: nothing tells how its images were normalised; assumed: as the run's, "
                  << Text(mean, std);
    return absl::OkStatus();
  }
  const bool same = own.mean == mean && own.std == std;
  TEC_LOG(INFO) << "base model: its images are normalised by " << Text(own.mean, own.std) << " (" << own.source << ")"
                << (same ? ", as the run's" : absl::StrCat("; the new model's by the run's ", Text(mean, std)));
  if (!same) model->Renormalise({mean, std}, {own.mean, own.std});
  return absl::OkStatus();
}

}  // namespace tec
