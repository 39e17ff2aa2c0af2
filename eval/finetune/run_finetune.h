// A finetuning run: a pretrained encoder and a new classifier are trained with labels and evaluated after every epoch.
// (recipe.md section 13)
//
// In output_dir it leaves experiment.textproto, this_checkpoint.pth (every epoch; also within one, see
// save_every_minutes) with the one before it, checkpoint-N.pth (every save_period epochs and the last),
// best_checkpoint.pth (the highest top-1 so far), results.json (the newest evaluation; with eval the only file),
// log.txt, metrics.jsonl, and TensorBoard events in log_dir. Called again with the same output_dir it goes on where the
// newest checkpoint stands.
//
// The checkpoints are a function of the settings, the data and the pretrained weights: being stopped and resumed
// changes no byte of them, on one machine with one number of compute threads.

#ifndef TEC_EVAL_FINETUNE_RUN_FINETUNE_H_
#define TEC_EVAL_FINETUNE_RUN_FINETUNE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "tec/config/finetune.pb.h"
#include "tec/dist/environment.h"

namespace tec {

struct RunFinetuneOptions {
  LaunchEnvironment environment;  // Which rank this process is; by default the only one.
  bool quiet = false;             // No progress display; errors and warnings are still logged.
  // Called after each update with the number of updates since epoch 0; true stops the run as a signal would.
  std::function<bool(int64_t updates)> stop_after_update;
};

struct RunFinetuneResult {
  bool stopped = false;  // By a signal or stop_after_update, after saving.
  int64_t updates = 0;   // Since epoch 0, those before a resume included.
  int64_t epochs = 0;    // Finished.
  // Of the last evaluation; NaN if there was none in this call.
  double top1 = 0, top5 = 0, loss = 0;
  double max_accuracy = 0;  // The highest top-1 of any epoch, percent.
  std::string checkpoint;   // The newest checkpoint file; empty with eval.
};

// `resolved`: every field set and sound (tec/config/finetune.h). Errors that the user can mend are InvalidArgument,
// NotFound, FailedPrecondition or PermissionDenied, and come before training starts; Aborted is a loss that is not
// finite.
absl::StatusOr<RunFinetuneResult> RunFinetune(const config::Finetune& resolved, const RunFinetuneOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_RUN_FINETUNE_H_
