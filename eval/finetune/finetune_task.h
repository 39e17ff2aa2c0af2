// Finetuning as a task of the loop (tec/run/task.h): a pretrained encoder and a classifier, evaluated after every
// epoch.

#ifndef TEC_EVAL_FINETUNE_FINETUNE_TASK_H_
#define TEC_EVAL_FINETUNE_FINETUNE_TASK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/finetune/augmentation.h"
#include "eval/finetune/finetune_data.h"
#include "eval/finetune/finetune_models.h"
#include "eval/finetune/finetune_step.h"
#include "eval/finetune/held_out_evaluation.h"
#include "eval/finetune/weight_average.h"
#include "tec/config/finetune.pb.h"
#include "tec/config/settings_record.h"
#include "tec/optim/adamw.h"
#include "tec/optim/schedule.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/run_context.h"
#include "tec/run/task.h"
#include "tec/run/training_loader.h"

namespace tec {

class FinetuneTask : public Task {
 public:
  // As RunFinetune(); context outlives it.
  FinetuneTask(const config::Finetune& resolved, RunContext& context, HeldOutEvaluation::Options evaluation)
      : settings_(resolved), context_(context), evaluation_(settings_, data_, context, evaluation) {}

  absl::Status OpenData() override;
  absl::StatusOr<EpochPlan> Open(const LoadedState* resume) override;
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override;
  std::vector<std::string> Describe() const override;
  std::string SettingsText() const override;
  std::vector<std::string> DiffersFrom(const std::string& recorded) const override;

  const std::vector<std::string>& loss_names() const override;
  ImageCost Cost() const override;
  Loader* loader() override { return &batches_->loader(); }
  double LearningRate(double epoch) const override { return tec::LearningRate(schedule_, epoch); }

  void StartEpoch(int64_t epoch, int64_t first_step) override { batches_->loader().StartEpoch(epoch, first_step); }
  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override;
  absl::StatusOr<UpdateResult> Update(double lr) override;
  // The evaluation.
  bool long_epoch_end() const override { return true; }
  absl::Status FinishEpoch(const RunPosition& position, EpochReport* report) override;

  RankFacts Facts() const override { return SettingsByName(settings_); }
  ReplicatedTensors Replicated() const override;

  TrainingState Save(const RunPosition& position) const override;

  struct Standing {
    double max_accuracy = -1, max_ema_accuracy = -1;   // Of the run so far; -1 before the first evaluation.
    std::optional<HeldOutEvaluation::Results> newest;  // Of this call.
  };
  const Standing& standing() const { return standing_; }

 private:
  EpochPlan plan() const { return PlanOf(batches_->loader(), settings_.optimizer().accum_iter(), context_); }

  config::Finetune settings_;  // As given; the model's shape and the classes filled in by Open.
  RunContext& context_;
  FinetuneData data_;
  FinetuneAugmentation augmentation_;
  std::unique_ptr<TrainingBatches> batches_;
  FinetuneModels models_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<FinetuneStep> step_;
  std::optional<WeightAverage> averaging_;  // With --model_ema.
  HeldOutEvaluation evaluation_;
  ScheduleOptions schedule_;
  Standing standing_;
};

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_TASK_H_
