// A pretraining run, of either method: TEC against a base model, MAE against pixels. (recipe.md sections 6 and 7)
//
//   TEC_ASSIGN_OR_RETURN(LaunchEnvironment environment, DetectLaunchEnvironment({}));
//   TrainOptions options;
//   options.environment = environment;
//   TEC_ASSIGN_OR_RETURN(TrainResult result, Train(Resolve(experiment), options));
//
// In output_dir it leaves experiment.textproto, this_checkpoint.pth (every epoch; also within one, see
// save_every_minutes) with the one before it, checkpoint-N.pth (every save_period epochs and the last),
// log.txt, metrics.jsonl, and TensorBoard events in log_dir. Called again with the same output_dir it goes on where the
// newest checkpoint stands.
//
// Promise: the checkpoints are a function of the experiment, the data and the base model. Where and how often the run
// was stopped and resumed, the number of loader threads and the names of folders change no byte of them, on one machine
// with one number of compute threads. Other numbers of ranks give the same samples, crops and masks, and losses equal
// to rounding.

#ifndef TEC_TRAIN_TRAINER_H_
#define TEC_TRAIN_TRAINER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/base/exit_code.h"
#include "tec/config/experiment.pb.h"
#include "tec/run/run_options.h"

namespace torch::nn {
class Module;
}

namespace tec {

class ProcessGroup;

struct TrainOptions : RunOptions {
  // Called on every rank at the end of each epoch, numbered from 0, with the model that is trained, which it must not
  // change. What it returns on the first rank is logged with the epoch, in log.txt and TensorBoard. Its failure is a
  // warning: no run ends for it.
  using Monitor = std::function<absl::StatusOr<std::vector<std::pair<std::string, double>>>(
      int64_t epoch, const torch::nn::Module& model, ProcessGroup& group)>;
  Monitor monitor;
};

struct TrainResult : LoopResult {
  // Means over the last epoch finished; NaN if there was none in this call.
  double loss = 0;
  double loss_fea = 0;  // With TEC.
  double loss_att = 0;  // With TEC and pred_att.
};

// `resolved`: every field set (Resolve in tec/config/config.h) and sound (Validate).
//
// Errors that the user can mend before training, to be answered with exit code 1: InvalidArgument, NotFound,
// FailedPrecondition, PermissionDenied. Errors while running, exit code 2: everything else, among them
// a non-finite loss (Aborted; its message names the step, the parts of the loss and the newest checkpoint, which is
// untouched), a full disk (ResourceExhausted), too many unreadable images (DataLoss).
absl::StatusOr<TrainResult> Train(const config::Experiment& resolved, const TrainOptions& options);

// That of the status, and kExitStopped for a run that was stopped.
ExitCode ExitCodeOf(const absl::StatusOr<TrainResult>& result);

}  // namespace tec

#endif  // TEC_TRAIN_TRAINER_H_
