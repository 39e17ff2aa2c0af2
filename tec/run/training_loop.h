// The loop of every long run: drives a task (task.h) through its epochs, keeps its logs and checkpoints, stops on
// request and goes on where the newest checkpoint stands.
//
//   TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context, RunContext::Open(options));
//   MyTask task(settings, *context);
//   TEC_ASSIGN_OR_RETURN(LoopResult result, TrainingLoop(*context, task, loop_options).Run());
//
// Promise: where and how often a run was stopped and resumed changes no byte of its checkpoints, on one machine with
// one number of compute threads, if the task keeps its part: what it computes is a function of its settings, its data,
// its state and the place in the epoch.
//
// On a GPU the host reads what an update gave after it has queued the next micro-step, so that the device always has
// something to do; and before, where a save, a stop or the end of an epoch depends on it (Settle).

#ifndef TEC_RUN_TRAINING_LOOP_H_
#define TEC_RUN_TRAINING_LOOP_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/run/run_context.h"
#include "tec/run/run_options.h"
#include "tec/run/run_position.h"
#include "tec/run/run_report.h"
#include "tec/run/state_keeper.h"
#include "tec/run/task.h"
#include "tec/run/unread_update.h"
#include "tec/run/update_agreement.h"

namespace tec {

class TrainingLoop {
 public:
  // All outlive it.
  TrainingLoop(RunContext& context, Task& task, const LoopOptions& options);

  // Once. Errors that the user can mend come before training (tec/base/exit_code.h); errors while running are never
  // among those: Aborted is a loss or gradient that is not finite and names the step, the losses and the newest
  // checkpoint, which is untouched.
  absl::StatusOr<LoopResult> Run();

 private:
  absl::Status Open();
  // That all ranks have the same state. An error is the end on every rank.
  absl::Status CheckRanks();
  absl::Status Train();
  // One epoch from position_ on. Sets stop_ and returns early if the run is to stop within the epoch.
  absl::Status TrainEpoch();
  absl::Status MicroStep();
  // Within an update: sets stop_ if any rank is asked to.
  absl::Status LearnOfStop();
  // Whether the device may run ahead of the host.
  bool ReadsLate() const;
  absl::Status FinishUpdate();
  // Sends off what the ranks are to agree on of the micro-steps since the last call.
  UnreadUpdate BeginReading();
  // Reads the update that is not read yet, if there is one, and does what follows of it. All ranks at the same place.
  absl::Status Settle();
  // Its first half, of which the other ranks need to know nothing: the state is whole after it, unless a loss or
  // gradient is not finite (Aborted).
  absl::Status Confirm(UnreadUpdate& update);
  // What the ranks have sent one another of its losses. Aborted if one is not finite.
  absl::Status ReceiveLosses(UnreadUpdate& update);
  // What they want, which they are all asked about.
  absl::Status ObeyRanks(const UpdateAgreement::Agreed& agreed);
  absl::Status FinishEpoch();
  // An error that only this rank has met: with others it is told at the next agreement.
  absl::Status Keep(const absl::Status& error);
  bool SaveIsDue() const;
  absl::Status NonFinite(const RunPosition& update, const std::string& what);
  // this_checkpoint, in the background; every rank learns whether the save before went well.
  absl::Status SaveThis();

  RunContext& context_;
  Task& task_;
  const LoopOptions& options_;
  UpdateAgreement agreement_;
  EpochPlan plan_;
  RunReport report_;
  StateKeeper keeper_;
  RunPosition position_;
  bool stop_ = false;  // The same on every rank.
  std::optional<UnreadUpdate> unread_;
  struct {
    absl::Status own;       // Kept: of this rank.
    bool all_know = false;  // Of the one that ends the run.
  } failure_;
  LoopResult result_;
};

}  // namespace tec

#endif  // TEC_RUN_TRAINING_LOOP_H_
