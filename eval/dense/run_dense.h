// A run that trains a linear head for segmentation on a frozen encoder, by Pixio's protocol (its
// evaluation/eval_semseg.py), and evaluates it by sliding window after every epoch.
//
// In output_dir it leaves this_checkpoint.pth (every epoch, and where it was stopped) with the one before it,
// best_checkpoint.pth (the head with the highest mean IoU so far), log.txt, metrics.jsonl, results.json, pictures/, and
// TensorBoard events. Called again with the same output_dir it goes on where the newest checkpoint stands. Being
// stopped and resumed changes no byte of the checkpoints, on one machine with one number of compute threads.

#ifndef TEC_EVAL_DENSE_RUN_DENSE_H_
#define TEC_EVAL_DENSE_RUN_DENSE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/dense/segmentation_data.h"
#include "eval/program/head_run.h"

namespace tec {

struct DenseRunOptions : HeadRunOptions {
  DenseRunOptions() { epochs = 60; }

  std::string layout = "auto", train_list = "train";  // This and the next as OpenSegmentationData takes them.
  std::vector<int> ignored;
  int64_t nb_classes = 0;  // Numbers below this are classes; 0: as the data set says, or by the training masks.

  int64_t batch_size = 16;
  double lr = 2e-4;  // Falls to 0 with the power 0.9 of what is left of the updates.
  double weight_decay = 0.01;

  int64_t pictures = 8;  // Held-out ones that are drawn at the end.
};

struct DenseRunResult : LoopResult {
  double max_miou = 0;  // Percent, of the best epoch; NaN before the first evaluation.
};

// Errors that the user can mend are InvalidArgument, NotFound, FailedPrecondition or PermissionDenied, and come before
// training starts; Aborted is a loss that is not finite.
absl::StatusOr<DenseRunResult> RunDense(const DenseRunOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_RUN_DENSE_H_
