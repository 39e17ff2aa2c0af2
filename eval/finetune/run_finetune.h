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

#include "absl/status/statusor.h"
#include "tec/config/finetune.pb.h"
#include "tec/run/run_options.h"

namespace tec {

struct RunFinetuneOptions : RunOptions {
  bool confusion = false;  // WriteConfusion (eval/metrics/report.h) beside results.json, of every evaluation.
};

// `losses` of LoopResult are the training loss; `checkpoint` is empty with eval.
struct RunFinetuneResult : LoopResult {
  // Of the last evaluation; NaN if there was none in this call.
  double top1 = 0, top5 = 0, loss = 0;
  double max_accuracy = 0;  // The highest top-1 of any epoch, percent.
};

// `resolved`: every field set and sound (tec/config/finetune.h). Errors that the user can mend are InvalidArgument,
// NotFound, FailedPrecondition or PermissionDenied, and come before training starts; Aborted is a loss that is not
// finite.
absl::StatusOr<RunFinetuneResult> RunFinetune(const config::Finetune& resolved, const RunFinetuneOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_RUN_FINETUNE_H_
