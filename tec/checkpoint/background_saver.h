// Checkpoints written while training goes on: a save takes as long as copying the state; a thread writes it.
//
//   BackgroundSaver saver(folder);
//   TEC_RETURN_IF_ERROR(saver.Save({{state, {CheckpointFolder::kThis}}}));   // returns what the save before gave
//   TEC_RETURN_IF_ERROR(saver.Save({{state, {"best_checkpoint.pth", CheckpointFolder::kThis}}}));
//   TEC_RETURN_IF_ERROR(saver.Wait());                                       // before the end
//
// Training has RunSaver (tec/run/run_saver.h) around it.

#ifndef TEC_CHECKPOINT_BACKGROUND_SAVER_H_
#define TEC_CHECKPOINT_BACKGROUND_SAVER_H_

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tec/checkpoint/training_state.h"

namespace tec {

// A copy whose tensors have bytes of their own, so that training may change the originals.
TrainingState CopyOf(const TrainingState& state);

// A state, and the names of the files of the folder that are to hold it, in the order in which they are written.
struct StateFiles {
  TrainingState state;
  std::vector<std::string> names;
};

struct RetentionOptions {
  int64_t keep_last = 0;      // Numbered checkpoints that stay, the newest; 0: all.
  bool encoder_only = false;  // Numbered checkpoints hold EncoderOf the state.
};

class BackgroundSaver {
 public:
  explicit BackgroundSaver(CheckpointFolder folder, const RetentionOptions& retention = {})
      : folder_(std::move(folder)), retention_(retention) {}
  // Waits for the save in progress; its error, if nobody asked for it, is logged.
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // Waits for the save in progress and returns its error, without saving, if it had one. Else copies the states and
  // starts to write the files, one after the other; the first error ends the save, but a folder that is away is
  // waited for (RetryWhileAway). Where the system gives no thread,
  // the files are written before this returns, and a line in the log says so. this_checkpoint.pth belongs at the end: a
  // run that dies before it does the step again that the other files are of, and writes them again. A state that goes
  // into several files is written once, where the file system has hard links. Numbered checkpoints that are to go are
  // removed when all files are there.
  absl::Status Save(const std::vector<StateFiles>& files);

  // The same for a run that ends: in the caller's thread and without copies, for which there may be no memory left. An
  // error of the save in progress, which this one makes good, is logged. Returns this one's.
  absl::Status SaveHere(const std::vector<StateFiles>& files);

  // Waits for the save in progress. Its status, once; OK if there was none since the last call.
  absl::Status Wait();

  // The newest file to go on from that a finished save wrote, checkpoint-N.pth where there was one, which stays, else
  // this_checkpoint.pth; "" before the first. Current after Wait().
  const std::string& newest() const { return newest_; }

 private:
  // Into status_.
  void Write(const std::vector<StateFiles>& files);
  absl::Status WriteAll(const std::vector<StateFiles>& files);
  // encoder_only: EncoderOf the state; twin: as CheckpointFolder::Save.
  absl::Status SaveOne(const TrainingState& state, const std::string& name, bool encoder_only, const std::string& twin);

  CheckpointFolder folder_;
  RetentionOptions retention_;
  std::thread thread_;
  absl::Status status_;  // The thread's while it runs.
  std::string written_, newest_;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_BACKGROUND_SAVER_H_
