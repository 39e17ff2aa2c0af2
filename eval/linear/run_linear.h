// A linear-probe run: heads on a frozen encoder, trained with labels and evaluated after every epoch. MAE's protocol is
// one head; iBOT's and DINOv2's sweeps are many, trained side by side on one pass over the images.
// (recipe.md section 16)
//
// In output_dir it leaves this_checkpoint.pth (every epoch, and where it was stopped) with the one before it,
// best_checkpoint.pth (the head with the highest top-1 so far), log.txt, metrics.jsonl, results.json, and TensorBoard
// events in log_dir. Called again with the same output_dir it goes on where the newest checkpoint stands. Being stopped
// and resumed changes no byte of the checkpoints, on one machine with one number of compute threads.
//
// Several ranks (options.environment) train by the mean of their gradients: without batch normalisation N of them with
// accum_iter 1 train as one with accum_iter N, but for rounding. A batch is normalised by the statistics of the rank
// that has it, as in the reference; the running averages are the mean of the ranks' (the reference's: rank 0's).

#ifndef TEC_EVAL_LINEAR_RUN_LINEAR_H_
#define TEC_EVAL_LINEAR_RUN_LINEAR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/features/feature_spec.h"
#include "eval/program/head_run.h"
#include "tec/dist/environment.h"
#include "tec/optim/lars.h"

namespace tec {

struct LinearRunOptions : HeadRunOptions {
  LinearRunOptions() { epochs = 90; }

  LaunchEnvironment environment;  // Which rank this process is; by default the only one.
  std::string protocol;           // For messages and results.

  std::vector<FeatureSpec> features = {kClsFeatures};
  std::vector<double> rates = {1};  // A head for each pair of features and rate; its learning rate is rate * lr.
  bool batch_norm = true;
  LarsOptions optimizer;
  double weight_decay = 0;

  // How a training image is cut: MAE's one draw; torchvision's RandomResizedCrop, bicubic, or bilinear as is its
  // default; or as for evaluation, so that its features are the same in every epoch and are computed once.
  enum class Crop { kSingleDraw, kRandomResized, kRandomResizedBilinear, kNone };
  Crop crop = Crop::kSingleDraw;

  int64_t batch_size = 512;  // Images a rank and micro-step.
  int64_t epoch_length = 0;  // Updates of an epoch, whatever the number of images; 0: one pass over them.
  double lr = 0;             // Of a head of rate 1.
  double min_lr = 0;
  double warmup_epochs = 0;
  bool lr_by_epoch = false;  // The rate stays the same within an epoch.

  int64_t nb_classes = 0;  // 0: as many as the training images have.
};

struct LinearRunResult : LoopResult {
  // Of the best head at its best epoch, percent; NaN before the first evaluation, and on ranks other than the first.
  double max_accuracy = 0;
  std::string best_head;  // "cls", or in a sweep "cls4+pool, rate 0.01".
};

// Errors that the user can mend are InvalidArgument, NotFound, FailedPrecondition or PermissionDenied, and come before
// training starts; Aborted is a loss that is not finite (in a sweep: of every head).
absl::StatusOr<LinearRunResult> RunLinear(const LinearRunOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_RUN_LINEAR_H_
