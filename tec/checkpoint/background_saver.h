// Checkpoints written while training goes on: a save takes as long as copying the state; a thread writes it.
//
//   BackgroundSaver saver(folder);
//   TEC_RETURN_IF_ERROR(saver.Save(state));             // this_checkpoint.pth; returns what the save before gave
//   TEC_RETURN_IF_ERROR(saver.Save(state, epoch));      // checkpoint-<epoch>.pth first
//   TEC_RETURN_IF_ERROR(saver.Wait());                  // before the end

#ifndef TEC_CHECKPOINT_BACKGROUND_SAVER_H_
#define TEC_CHECKPOINT_BACKGROUND_SAVER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "tec/checkpoint/training_state.h"

namespace tec {

// A copy whose tensors have bytes of their own, so that training may change the originals.
TrainingState CopyOf(const TrainingState& state);

class BackgroundSaver {
 public:
  explicit BackgroundSaver(CheckpointFolder folder) : folder_(std::move(folder)) {}
  // Waits for the save in progress; its error, if nobody asked for it, is logged.
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // Waits for the save in progress and returns its error, without saving, if it had one. Else copies `state` and starts
  // to write it: checkpoint-<numbered>.pth if given, then this_checkpoint.pth.
  absl::Status Save(const TrainingState& state, std::optional<int64_t> numbered = std::nullopt);

  // Waits for the save in progress. Its status, once; OK if there was none since the last call.
  absl::Status Wait();

  // The newest file that a finished save wrote; "" before the first. Current after Wait().
  const std::string& newest() const { return newest_; }

 private:
  CheckpointFolder folder_;
  std::thread thread_;
  absl::Status status_;  // The thread's while it runs.
  std::string written_, newest_;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_BACKGROUND_SAVER_H_
