// The linear probe as a task of the loop (tec/run/task.h): heads on a frozen encoder, evaluated after every epoch.

#ifndef TEC_EVAL_LINEAR_LINEAR_TASK_H_
#define TEC_EVAL_LINEAR_LINEAR_TASK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/linear/linear_heads.h"
#include "eval/linear/linear_inputs.h"
#include "eval/linear/probe_images.h"
#include "eval/linear/run_linear.h"
#include "tec/run/run_context.h"
#include "tec/run/task.h"

namespace tec {

class LinearTask : public Task {
 public:
  // As RunLinear(); both outlive it.
  LinearTask(const LinearRunOptions& options, RunContext& context) : options_(options), context_(context) {}

  absl::Status OpenData() override;
  absl::StatusOr<EpochPlan> Open(const LoadedState* resume) override;
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override;
  std::vector<std::string> Describe() const override;

  const std::vector<std::string>& loss_names() const override { return loss_names_; }
  Loader* loader() override { return images_ ? images_->loader() : nullptr; }
  double LearningRate(double epoch) const override;

  void StartEpoch(int64_t epoch, int64_t first_step) override;
  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override;
  bool micro_steps_change_state() const override { return options_.batch_norm; }
  absl::StatusOr<UpdateResult> Update(double lr) override;
  absl::Status FinishEpoch(const RunPosition& position, EpochReport* report) override;

  RankFacts Facts() const override;
  ReplicatedTensors Replicated() const override { return heads_->Replicated(); }

  TrainingState Save(const RunPosition& position) const override;

  // Of the head with the highest top-1 of all epochs; nothing before the first evaluation. The first rank's.
  struct Best {
    double max_accuracy = -1;
    int64_t head = -1, epoch = -1;
  };
  const Best& best() const { return best_; }
  // For the report, after Open.
  const LinearHeads& heads() const { return *heads_; }
  const LinearInputs& inputs() const { return inputs_; }
  // Of each head at the last evaluation; empty before the first in this call.
  const std::vector<LinearHeads::Accuracy>& last_epoch() const { return last_epoch_; }

 private:
  // Where in the passes over the images a micro-step is: with epoch_length an epoch may be a part of a pass, or
  // several.
  struct Place {
    int64_t pass = 0, batch = 0;
  };
  Place PlaceOf(int64_t epoch, int64_t step) const;
  // What decides the weights, one "name: value" a line.
  std::string Record() const;
  TrainingState BestState(const RunPosition& position) const;

  const LinearRunOptions& options_;
  RunContext& context_;
  std::vector<std::string> loss_names_;
  LinearInputs inputs_;
  std::optional<LinearHeads> heads_;
  std::optional<ProbeImages> images_;
  EpochPlan plan_;
  int64_t started_pass_ = -1;
  Best best_;
  std::vector<LinearHeads::Accuracy> last_epoch_;
  struct {
    at::Tensor sum;     // float64 [heads], over the micro-steps of the epoch's updates; the mean over ranks.
    int64_t count = 0;  // Of those micro-steps.
    // The same of this rank's micro-steps since the newest update, which may be gone back to.
    at::Tensor own;
    int64_t own_count = 0;
  } losses_;
};

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_LINEAR_TASK_H_
