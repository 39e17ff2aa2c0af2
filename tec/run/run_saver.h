// Where a run's checkpoints are: the one to go on from, those it writes, in the background, and the newest whole one,
// for messages. What pretraining, finetuning and probing share. No tensors.

#ifndef TEC_RUN_RUN_SAVER_H_
#define TEC_RUN_RUN_SAVER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/checkpoint/background_saver.h"
#include "tec/checkpoint/training_state.h"

namespace tec {

class RunSaver {
 public:
  // Errors are CheckpointFolder::Open's.
  static absl::StatusOr<RunSaver> Open(const std::string& directory, const RetentionOptions& retention = {});

  // As BackgroundSaver::Save: takes as long as copying the states, and waits for the save before, whose error it
  // returns. Errors name the newest whole checkpoint.
  absl::Status Save(const std::vector<StateFiles>& files);
  // `state` alone: the files `before_this`, then this_checkpoint.pth.
  absl::Status Save(TrainingState state, std::vector<std::string> before_this = {});
  // As BackgroundSaver::SaveHere: `state` alone to this_checkpoint.pth, of a run that ends for want of memory, threads,
  // data or logs.
  absl::Status SaveHere(TrainingState state);
  // Waits for the save in progress and returns its error. A run calls it before it ends, and before it reads what it
  // wrote.
  absl::Status Wait();

  const CheckpointFolder& folder() const { return folder_; }
  // Path of the newest whole checkpoint, or of the one that the run went on from; "" before the first. Current after
  // Wait().
  const std::string& newest() const { return newest_; }
  void set_newest(const std::string& path) { newest_ = path; }
  // For messages: newest(), or "none". Waits for the save in progress, whose error, if it has one, is logged.
  std::string WaitForNewest();
  // Since the last Save, or since Open.
  double MinutesSinceSave() const;

 private:
  RunSaver(CheckpointFolder folder, const RetentionOptions& retention);
  // Of a finished save: takes over its newest file, and annotates.
  absl::Status Finished(const absl::Status& status);

  CheckpointFolder folder_;
  std::unique_ptr<BackgroundSaver> saver_;
  std::string newest_;
  double saved_ = 0;
};

// The state that a run of `method` goes on from: the file `resume`, or, if that is empty, the newest of the saver's
// folder, or none. `saver` may be null where `resume` is given. InvalidArgument for a state of another method;
// `instead` then says what such a file is good for.
absl::StatusOr<std::optional<LoadedState>> FindRunState(const std::string& resume, const RunSaver* saver,
                                                        const std::string& method, const std::string& instead);

}  // namespace tec

#endif  // TEC_RUN_RUN_SAVER_H_
