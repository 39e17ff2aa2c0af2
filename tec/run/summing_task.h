// For tests of the training loop: a task of a few micro-steps that shows in one number which of them were made.

#ifndef TEC_RUN_SUMMING_TASK_H_
#define TEC_RUN_SUMMING_TASK_H_

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ops/full.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/run/training_loop.h"

namespace tec {

inline constexpr int64_t kMicroSteps = 5, kUpdates = 4;  // Of an update; of an epoch.

// Its weight is the sum over its updates of what their micro-steps gave. `on_step` may do what goes wrong.
class SummingTask : public Task {
 public:
  absl::Status OpenData() override { return absl::OkStatus(); }
  absl::StatusOr<EpochPlan> Open(const LoadedState*) override {
    plan_.dataset_size = kMicroSteps * kUpdates;
    plan_.images_per_micro_step = 1;
    plan_.steps_per_epoch = kMicroSteps * kUpdates;
    plan_.accum_iter = kMicroSteps;
    return plan_;
  }
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override {
    EXPECT_TRUE(CopyInto(*resume.state.model.Find("weight"), weight_).ok());
    return LoadPosition(resume, plan_, names_, changes);
  }
  std::vector<std::string> Describe() const override { return {}; }
  const std::vector<std::string>& loss_names() const override { return names_; }
  Loader* loader() override { return nullptr; }
  double LearningRate(double epoch) const override { return 1 + epoch; }
  void StartEpoch(int64_t, int64_t first_step) override { first = first_step; }
  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override {
    last = place.step;
    if (on_step) {
      const absl::Status status = on_step(place.step);
      if (!status.ok()) return status;
    }
    sum_ += static_cast<double>(place.step + 1);
    return at::full({1}, place.step == spoilt ? std::nan("") : static_cast<double>(place.step), at::kDouble);
  }
  absl::StatusOr<UpdateResult> Update(double lr) override {
    weight_ += sum_ * lr;
    sum_ = 0;
    return UpdateResult();
  }
  bool micro_steps_change_state() const override { return changes_state; }
  absl::Status FinishEpoch(const RunPosition&, EpochReport*) override { return absl::OkStatus(); }
  TrainingState Save(const RunPosition& position) const override {
    TrainingState state;
    EXPECT_TRUE(state.model.Add("weight", ViewOf(weight_)).ok());
    state.method = "summing";
    SavePosition(position, plan_, names_, &state);
    return state;
  }

  std::function<absl::Status(int64_t step)> on_step;
  int64_t first = -1, last = -1;  // Micro-steps.
  int64_t spoilt = -1;            // A micro-step whose loss is no number.
  bool changes_state = false;

 private:
  const std::vector<std::string> names_ = {"loss"};
  EpochPlan plan_;
  at::Tensor weight_ = at::full({1}, 0.5, at::kDouble);
  double sum_ = 0;
};

// `loop`: more than the folder and what the task needs.
inline absl::StatusOr<LoopResult> RunTask(const std::string& folder, SummingTask* task, LoopOptions loop = {}) {
  RunContext::Options options;
  options.threads = 1;
  options.quiet = true;
  const auto context = RunContext::Open(options);
  EXPECT_TRUE(context.ok()) << context.status();
  loop.method = "summing";
  loop.data_path = "/pictures";
  loop.output_dir = folder;
  loop.epochs = 1;
  return TrainingLoop(**context, *task, loop).Run();
}

}  // namespace tec

#endif  // TEC_RUN_SUMMING_TASK_H_
