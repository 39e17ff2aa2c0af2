#include "tec/run/run_saver.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"

namespace tec {
RunSaver::RunSaver(CheckpointFolder folder, const RetentionOptions& retention)
    : folder_(std::move(folder)),
      saver_(std::make_unique<BackgroundSaver>(folder_, retention)),
      saved_(SteadySeconds()) {}

absl::StatusOr<RunSaver> RunSaver::Open(const std::string& directory, const RetentionOptions& retention) {
  TEC_ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(directory));
  return RunSaver(std::move(folder), retention);
}

absl::Status RunSaver::Save(const std::vector<StateFiles>& files) {
  TEC_RETURN_IF_ERROR(Finished(saver_->Save(files)));
  saved_ = SteadySeconds();
  return absl::OkStatus();
}

absl::Status RunSaver::Save(TrainingState state, std::vector<std::string> before_this) {
  before_this.push_back(CheckpointFolder::kThis);
  return Save({StateFiles{std::move(state), std::move(before_this)}});
}

absl::Status RunSaver::SaveHere(TrainingState state) {
  return Finished(saver_->SaveHere({StateFiles{std::move(state), {CheckpointFolder::kThis}}}));
}

absl::Status RunSaver::Wait() { return Finished(saver_->Wait()); }

absl::Status RunSaver::Finished(const absl::Status& status) {
  if (!saver_->newest().empty()) newest_ = saver_->newest();
  return Annotate(status,
                  absl::StrCat("saving failed; the newest whole checkpoint is ", newest_.empty() ? "none" : newest_));
}

std::string RunSaver::WaitForNewest() {
  const absl::Status saved = Wait();
  if (!saved.ok()) TEC_LOG(ERROR) << saved.message();
  return newest_.empty() ? "none" : newest_;
}

double RunSaver::MinutesSinceSave() const { return (SteadySeconds() - saved_) / 60; }

absl::StatusOr<std::optional<LoadedState>> FindRunState(const std::string& resume, const RunSaver* saver,
                                                        const std::string& method, const std::string& instead) {
  LoadedState found;
  if (absl::StartsWith(resume, "http://") || absl::StartsWith(resume, "https://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--resume=", resume, ": addresses are not read; download the file and give its path"));
  }
  if (!resume.empty()) {
    absl::StatusOr<TrainingState> state = LoadTrainingState(resume);
    TEC_RETURN_IF_ERROR(Annotate(state.status(), "cannot resume"));
    found = LoadedState{*std::move(state), resume, {}};
  } else {
    TEC_CHECK(saver != nullptr);
    absl::StatusOr<LoadedState> newest = saver->folder().LoadNewest();
    if (absl::IsNotFound(newest.status())) return std::optional<LoadedState>();
    if (!newest.ok()) return newest.status();
    found = *std::move(newest);
  }
  if (!found.state.method.empty() && found.state.method != method) {
    return absl::InvalidArgumentError(absl::StrCat(found.path, " is a checkpoint of method ", found.state.method,
                                                   ", not of ", method, "; ",
                                                   resume.empty() ? "choose another --output_dir, and " : "", instead));
  }
  return std::optional<LoadedState>(std::move(found));
}

}  // namespace tec
