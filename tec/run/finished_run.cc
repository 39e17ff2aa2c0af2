#include "tec/run/finished_run.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/training_state.h"
#include "tec/checkpoint/value.h"
#include "tec/run/event_file.h"

namespace tec {
namespace {

bool IsOfARun(const std::string& name) {
  for (const char* whole : {"experiment.textproto", "log.txt", "metrics.jsonl", "results.json", "best_checkpoint.pth",
                            "bad_images.txt", "bad_images_val.txt", "report.html", "run_info.jsonl", "tensorboard",
                            CheckpointFolder::kThis, CheckpointFolder::kPrevious, CheckpointFolder::kDamaged}) {
    if (name == whole) return true;
  }
  return CheckpointFolder::EpochOfName(name).has_value() || absl::StartsWith(name, kEventFilePrefix);
}

// Of what DifferencesOfRuns lists: what makes a run another experiment, where the rest (rates, epochs, a batch) may be
// changed to go on.
bool NamesAnotherExperiment(const std::string& difference) {
  for (const char* prefix :
       {"method:", "seed:", "data.path:", "data.classes:", "data.exclude:", "data.train_fraction:", "shots:",
        "subset_seed:", "finetune:", "model.", "base_model.", "further_base_models", "further_models"}) {
    if (absl::StartsWith(difference, prefix)) return true;
  }
  return false;
}

// The epochs that the run of a checkpoint was to have, 0 if it does not say.
int64_t PlannedEpochs(const TrainingState& state) {
  const Value* epochs = state.args.is_dict() ? state.args.Find("epochs") : nullptr;
  return epochs != nullptr && epochs->kind() == Value::Kind::kInt ? epochs->int_value() : 0;
}

}  // namespace

absl::Status CheckNotFinished(const std::string& output_dir, int64_t epochs,
                              const std::function<std::vector<std::string>(const std::string& recorded)>& differs) {
  const absl::StatusOr<std::string> recorded = ReadFile(absl::StrCat(output_dir, "/experiment.textproto"));
  // No run, or one whose settings nobody can read: going on from its checkpoint compares what is in there.
  if (!recorded.ok()) return absl::OkStatus();
  std::vector<std::string> differences = differs(*recorded);
  if (differences.empty()) return absl::OkStatus();
  const std::string path = absl::StrCat(output_dir, "/", CheckpointFolder::kThis);
  const absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  if (!state.ok()) return absl::OkStatus();
  const int64_t done = state->epoch + 1, planned = PlannedEpochs(*state);
  const bool nothing_left = done >= epochs;
  if (!nothing_left) {
    // More epochs, a new rate: the finished run goes on with them. One that was not finished goes on with anything.
    if (planned == 0 || done < planned) return absl::OkStatus();
    differences.erase(std::remove_if(differences.begin(), differences.end(),
                                     [](const std::string& text) { return !NamesAnotherExperiment(text); }),
                      differences.end());
    if (differences.empty()) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      output_dir, " holds a finished run of ", done, " epochs with other settings: ", absl::StrJoin(differences, "; "),
      ". Nothing was touched. For a new run choose another --output_dir, or give "
      "--overwrite to remove that one; --resume=",
      path, nothing_left ? " with more --epochs" : "", " goes on from it, where method and models are the same"));
}

absl::Status RemoveRun(const std::string& output_dir) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator entry(output_dir, error), end; !error && entry != end;
       entry.increment(error)) {
    if (IsOfARun(entry->path().filename().string())) files.push_back(entry->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return ErrnoToStatus(error.value(), "cannot list", output_dir);
  }
  for (const std::filesystem::path& file : files) {
    error.clear();
    std::filesystem::remove_all(file, error);
    if (error) return ErrnoToStatus(error.value(), "cannot remove", file.string());
  }
  return absl::OkStatus();
}

}  // namespace tec
