#include "tec/run/finished_run.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

bool IsOfARun(const std::string& name) {
  for (const char* whole :
       {"experiment.textproto", "log.txt", "metrics.jsonl", "results.json", "best_checkpoint.pth", "bad_images.txt",
        "bad_images_val.txt", CheckpointFolder::kThis, CheckpointFolder::kPrevious, CheckpointFolder::kDamaged}) {
    if (name == whole) return true;
  }
  return CheckpointFolder::EpochOfName(name).has_value() || absl::StartsWith(name, "events.out.tfevents.");
}

}  // namespace

absl::Status CheckNotFinished(const std::string& output_dir, int64_t epochs,
                              const std::function<std::vector<std::string>(const std::string& recorded)>& differs) {
  const absl::StatusOr<std::string> recorded = ReadFile(absl::StrCat(output_dir, "/experiment.textproto"));
  // No run, or one whose settings nobody can read: going on from its checkpoint compares what is in there.
  if (!recorded.ok()) return absl::OkStatus();
  const std::vector<std::string> differences = differs(*recorded);
  if (differences.empty()) return absl::OkStatus();
  const std::string path = absl::StrCat(output_dir, "/", CheckpointFolder::kThis);
  const absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  if (!state.ok() || state->epoch + 1 < epochs) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(output_dir, " holds a finished run of ", state->epoch + 1,
                   " epochs with other settings: ", absl::StrJoin(differences, "; "),
                   ". Nothing was touched. For a new run choose another --output_dir, or give "
                   "--overwrite to remove that one; --resume=",
                   path, " with more --epochs goes on from it"));
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
    std::filesystem::remove(file, error);
    if (error) return ErrnoToStatus(error.value(), "cannot remove", file.string());
  }
  return absl::OkStatus();
}

}  // namespace tec
