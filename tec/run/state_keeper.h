// What of a run survives it: which of its states may be saved, which has been, and its folder, which it holds.
//
// A checkpoint says what the newest update made: what micro-steps since have added to the gradient is in none. So the
// loop says when the task's state is that of an update or of an epoch's end (MarkWhole), and when it is not any more.

#ifndef TEC_RUN_STATE_KEEPER_H_
#define TEC_RUN_STATE_KEEPER_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "tec/run/folder_lock.h"
#include "tec/run/run_context.h"
#include "tec/run/run_options.h"
#include "tec/run/run_position.h"
#include "tec/run/run_report.h"
#include "tec/run/run_saver.h"
#include "tec/run/task.h"

namespace tec {

class StateKeeper {
 public:
  // All outlive it.
  StateKeeper(RunContext& context, Task& task, const LoopOptions& options, RunReport& report)
      : context_(context), task_(task), options_(options), report_(report) {}

  // Takes the folder, on the first rank, and looks for checkpoints in it, on every one.
  absl::Status Open();
  // After Open.
  RunSaver& saver() { return *saver_; }
  const RunSaver& saver() const { return *saver_; }
  // Where the run goes on: what the checkpoint says that it was begun from.
  void Begin(const RunPosition& position) { saved_ = position; }

  // The task's state is that of `position`.
  void MarkWhole(const RunPosition& position);
  bool is_whole() const { return is_whole_; }
  // It is no update's any more; whether it was.
  bool MarkChanging() { return std::exchange(is_whole_, false); }
  // It is after all: what was to change it has left it alone.
  void MarkUnchanged(bool was_whole) { is_whole_ = was_whole; }
  const RunPosition& whole() const { return whole_; }

  // First rank only, as all that follows: the newest whole state to this_checkpoint, in the background. What is there
  // already is not written again: it would push the generation before it out.
  absl::Status SaveWhole();
  // The end of an epoch: its files, among them this_checkpoint at `position`.
  absl::Status SaveEpoch(EpochReport report, const RunPosition& position);
  // For what is being written; its error.
  absl::Status Wait() { return Saved(saver_->Wait()); }
  // On any rank: `failure`, which ends the run, with what could be saved before it does. Data that cannot be read and
  // logs that cannot be written leave the weights as the newest update made them. The other ranks may be gone: nothing
  // is agreed on.
  absl::Status SaveAfter(const absl::Status& failure);

 private:
  // Whether the newest checkpoint that was begun is that of whole_.
  bool WholeIsSaved() const;
  // Of a save: if it failed, it is not known any more what the newest checkpoint says.
  absl::Status Saved(const absl::Status& status);

  RunContext& context_;
  Task& task_;
  const LoopOptions& options_;
  RunReport& report_;
  std::unique_ptr<FolderLock> lock_;  // First rank only.
  std::optional<RunSaver> saver_;
  RunPosition whole_, saved_;  // Of the newest state that may be saved; of the newest checkpoint.
  bool is_whole_ = false;      // The task's state is that of whole_.
};

}  // namespace tec

#endif  // TEC_RUN_STATE_KEEPER_H_
