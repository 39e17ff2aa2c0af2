// The heads of a linear-probe run: one for each pair of features and learning rate, trained side by side on the same
// images. Heads are numbered by features, then by rate.

#ifndef TEC_EVAL_LINEAR_LINEAR_HEADS_H_
#define TEC_EVAL_LINEAR_LINEAR_HEADS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "eval/features/feature_spec.h"
#include "eval/features/features.h"
#include "eval/linear/linear_probe.h"
#include "eval/linear/run_linear.h"
#include "tec/checkpoint/training_state.h"
#include "tec/dist/process_group.h"
#include "tec/dist/replicas.h"

namespace tec {

class LinearHeads {
 public:
  // width: of the encoder; whole: the features that images come with, which hold those of every head.
  LinearHeads(const LinearRunOptions& options, const FeatureSpec& whole, int64_t width, int64_t classes,
              at::Device device);

  int64_t count() const { return static_cast<int64_t>(options_.features.size() * options_.rates.size()); }
  const FeatureSpec& FeaturesOf(int64_t head) const { return options_.features[head / options_.rates.size()]; }
  double RateOf(int64_t head) const { return options_.rates[head % options_.rates.size()]; }
  std::string NameOf(int64_t head) const;  // "cls", or in a sweep "cls4+pool, rate 0.01".
  int64_t ParametersOf(int64_t head) const;

  // One micro-batch: float32 [N, whole width], int64 [N] -> the heads' losses, float32 [count()].
  at::Tensor Accumulate(const at::Tensor& features, const at::Tensor& labels) const;
  // Over ranks, before Step: the mean of the gradients, and of the running averages that the micro-batches have moved.
  absl::Status Average(ProcessGroup& group) const;
  // One update with learning rate lr times each head's.
  void Step(double lr) const;

  struct Accuracy {
    double loss = 0, top1 = 0, top5 = 0;  // Mean cross-entropy; percent.
  };
  // Of each head. features.labels are on the CPU.
  std::vector<Accuracy> Evaluate(const Features& features) const;

  // All tensors that an update changes: weights, running averages, momentum.
  ReplicatedTensors Replicated() const;

  // All heads and their momentum, in state->model and state->extra.
  void Save(TrainingState* state) const;
  // DataLoss names `path` and the tensor that is missing or of another shape.
  absl::Status Load(const TrainingState& state, const std::string& path) const;
  // One head under the names that MAE's probe gives it, after `micro_steps` of them.
  void SaveOne(int64_t head, int64_t micro_steps, StateDict* model) const;

 private:
  const LinearRunOptions& options_;
  FeatureSpec whole_;
  int64_t width_, classes_;
  std::vector<std::unique_ptr<LinearProbe>> probes_;  // One for each of options_.features.
};

// The columns of `features` [N, width of `whole`] that are those of `part`; encoder_width: C.
at::Tensor SelectFeatures(const at::Tensor& features, const FeatureSpec& part, const FeatureSpec& whole,
                          int64_t encoder_width);

// Copies the tensor `name` of `from`. DataLoss names `path` and the tensor if it is missing or of another shape.
absl::Status CopyNamed(const StateDict& from, const std::string& name, const std::string& path, at::Tensor into);

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_LINEAR_HEADS_H_
