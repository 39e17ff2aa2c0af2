// Pretraining as a task of the loop (tec/run/task.h), for both methods: TEC against a base model, MAE against pixels.

#ifndef TEC_TRAIN_PRETRAIN_TASK_H_
#define TEC_TRAIN_PRETRAIN_TASK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/loader/loader.h"
#include "tec/config/experiment.pb.h"
#include "tec/optim/adamw.h"
#include "tec/optim/schedule.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/run_context.h"
#include "tec/run/task.h"
#include "tec/run/training_loader.h"
#include "tec/run/weight_update.h"
#include "tec/train/objective.h"
#include "tec/train/trainer.h"

namespace tec {

// What checkpoints call the method: "tec" or "mae".
std::string MethodName(const config::Experiment& experiment);

// The optimiser's side of one new model.
struct ModelUpdate {
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<WeightUpdate> update;
};

class PretrainTask : public Task {
 public:
  // As Train(); all outlive it.
  PretrainTask(const config::Experiment& resolved, const TrainOptions::Monitor& monitor, RunContext& context)
      : experiment_(resolved), monitor_(monitor), context_(context) {}

  absl::Status OpenData() override;
  absl::StatusOr<EpochPlan> Open(const LoadedState* resume) override;
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override;
  std::vector<std::string> Describe() const override;
  std::string SettingsText() const override;
  std::vector<std::string> DiffersFrom(const std::string& recorded) const override;

  const std::vector<std::string>& loss_names() const override { return objective_->loss_names(); }
  ImageCost Cost() const override;
  Loader* loader() override { return &batches_->loader(); }
  double LearningRate(double epoch) const override { return tec::LearningRate(schedule_, epoch); }

  void StartEpoch(int64_t epoch, int64_t first_step) override { batches_->loader().StartEpoch(epoch, first_step); }
  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override;
  absl::StatusOr<UpdateResult> Update(double lr) override;
  bool long_epoch_end() const override { return monitor_ != nullptr; }
  absl::Status FinishEpoch(const RunPosition& position, EpochReport* report) override;

  RankFacts Facts() const override;
  ReplicatedTensors Replicated() const override;

  TrainingState Save(const RunPosition& position) const override;

 private:
  // What a micro-step of that epoch computes with.
  Objective::Images ImagesOf(const Batch& batch, int64_t epoch) const;
  // As a run with that new model alone would save it.
  TrainingState StateOf(size_t model, const RunPosition& position) const;
  // Numbered checkpoints of the further new models, in folders of their own.
  absl::Status AddFurtherModels(const RunPosition& position, EpochReport* report) const;
  // Adds what the monitor says to the report.
  absl::Status AddMonitored(int64_t epoch, EpochReport* report);

  const config::Experiment& experiment_;
  const TrainOptions::Monitor& monitor_;
  RunContext& context_;
  std::unique_ptr<TrainingBatches> batches_;
  std::unique_ptr<Objective> objective_;
  // One a new model.
  std::vector<ModelUpdate> updates_;
  ScheduleOptions schedule_;
  EpochPlan plan_;
};

}  // namespace tec

#endif  // TEC_TRAIN_PRETRAIN_TASK_H_
