// Where a run's checkpoints are: the one to go on from, and the newest whole one, for messages. What pretraining,
// finetuning and probing share. No tensors.

#ifndef TEC_TRAIN_RUN_SAVER_H_
#define TEC_TRAIN_RUN_SAVER_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"

namespace tec {

class RunSaver {
 public:
  // Errors are CheckpointFolder::Open's.
  static absl::StatusOr<RunSaver> Open(const std::string& directory);

  // folder().SaveThis(state); a failure names the newest whole checkpoint.
  absl::Status SaveThis(const TrainingState& state);

  const CheckpointFolder& folder() const { return folder_; }
  // Path of the newest whole checkpoint; empty before the first one. A run that resumes, or writes others than by
  // SaveThis, sets it.
  const std::string& newest() const { return newest_; }
  void set_newest(const std::string& path) { newest_ = path; }
  // For messages: newest(), or "none".
  std::string NewestOrNone() const { return newest_.empty() ? "none" : newest_; }
  // Since the last SaveThis, or since Open.
  double MinutesSinceSave() const;

 private:
  explicit RunSaver(CheckpointFolder folder);

  CheckpointFolder folder_;
  std::string newest_;
  double saved_ = 0;
};

// The state that a run of `method` goes on from: the file `resume`, or, if that is empty, the newest of the saver's
// folder, or none. `saver` may be null where `resume` is given. InvalidArgument for a state of another method;
// `instead` then says what such a file is good for.
absl::StatusOr<std::optional<LoadedState>> FindRunState(const std::string& resume, const RunSaver* saver,
                                                        const std::string& method, const std::string& instead);

}  // namespace tec

#endif  // TEC_TRAIN_RUN_SAVER_H_
