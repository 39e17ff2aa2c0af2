// What a run's checkpoints predict: TEC's of the base model's relations, MAE's of pixels.

#ifndef TEC_EVAL_REPORT_PREDICTIONS_H_
#define TEC_EVAL_REPORT_PREDICTIONS_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "eval/report/seen_run.h"

namespace tec {

// Letters as in seen_run.h. All tensors are on the CPU.
struct RelationPrediction {
  at::Tensor mask;       // float32 [N, L]: 0 visible, 1 removed; the mask of the run's first epoch.
  at::Tensor patch;      // int64 [N]: of the base model's selected patches the one whose relations are shown.
  at::Tensor target;     // float32 [N, L]: the base model's relations of it, after the softmax, the mean over heads.
  at::Tensor predicted;  // The same, predicted; undefined of a run without that loss.
  // Mean entropy of the target's rows and heads: what loss_att, a cross-entropy with it, cannot fall below.
  double floor = 0;
};

// Of each of the run's own checkpoints; the run must be of TEC. Errors are those of reading the weights.
absl::StatusOr<std::vector<RelationPrediction>> PredictRelations(const SeenRun& run);

struct Reconstruction {
  at::Tensor mask;    // float32 [N, L]: 0 visible, 1 removed; of the run's first epoch.
  at::Tensor pixels;  // uint8 [N, S, S, 3]: visible patches as they are, removed ones as predicted.
};

// The same of an MAE run, with what normalised the patches and the pixels undone.
absl::StatusOr<std::vector<Reconstruction>> Reconstruct(const SeenRun& run);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_PREDICTIONS_H_
