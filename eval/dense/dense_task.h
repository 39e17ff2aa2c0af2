// Training a dense head as a task of the loop (tec/run/task.h).

#ifndef TEC_EVAL_DENSE_DENSE_TASK_H_
#define TEC_EVAL_DENSE_DENSE_TASK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/dense/dense_head.h"
#include "eval/dense/overlays.h"
#include "eval/dense/run_dense.h"
#include "eval/dense/segmentation_score.h"
#include "eval/dense/training_pairs.h"
#include "tec/optim/adamw.h"
#include "tec/run/run_context.h"
#include "tec/run/task.h"
#include "tec/run/weight_update.h"

namespace tec {

inline constexpr char kDenseMethod[] = "dense";

// What a run and the evaluation of its head share.
struct DenseInputs {
  FrozenSettings settings;
  FrozenEncoder frozen;
  SegmentationData data;
  std::optional<ClassPlaces> places;

  std::string encoder_record() const;  // As the runs' records name the encoder.
};
absl::StatusOr<DenseInputs> OpenDenseInputs(const DenseRunOptions& options);

struct DenseEvaluation {
  SegmentationScore score;
  int64_t unreadable = 0;
};
// All held-out pictures by sliding window. Numbers are those of the masks; `overlays`, if not null, gets pictures.
// Cancelled when the run is asked to stop.
absl::StatusOr<DenseEvaluation> EvaluateDense(const DenseInputs& inputs, DenseHead& head, RunContext& context,
                                              bool quiet, OverlayWriter* overlays);

class DenseTask : public Task {
 public:
  // Both outlive it.
  DenseTask(const DenseRunOptions& options, RunContext& context) : options_(options), context_(context) {}

  absl::Status OpenData() override;
  absl::StatusOr<EpochPlan> Open(const LoadedState* resume) override;
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override;
  std::vector<std::string> Describe() const override;

  const std::vector<std::string>& loss_names() const override;
  Loader* loader() override { return loader_.get(); }
  double LearningRate(double epoch) const override;

  void StartEpoch(int64_t epoch, int64_t first_step) override { loader_->StartEpoch(epoch, first_step); }
  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override;
  bool micro_steps_change_state() const override { return true; }
  absl::StatusOr<UpdateResult> Update(double lr) override { return update_->Finish(lr); }
  bool long_epoch_end() const override { return true; }
  absl::Status FinishEpoch(const RunPosition& position, EpochReport* report) override;

  TrainingState Save(const RunPosition& position) const override;

  const DenseInputs& inputs() const { return inputs_; }
  double max_miou() const { return max_miou_; }  // -1 before the first evaluation.

 private:
  // What decides the weights, one "name: value" a line.
  std::string Record() const;

  const DenseRunOptions& options_;
  RunContext& context_;
  DenseInputs inputs_;
  std::shared_ptr<DenseHead> head_;
  std::unique_ptr<AdamW> optimizer_;
  std::optional<WeightUpdate> update_;
  std::unique_ptr<Loader> loader_;
  EpochPlan plan_;
  double max_miou_ = -1;
};

// Mean IoU as Pixio's evaluation has it, over all classes: one that occurs nowhere counts as 0.
double MeanIouOfAll(const DenseInputs& inputs, const SegmentationScore& score);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_DENSE_TASK_H_
