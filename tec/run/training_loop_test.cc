// The loop with a task that counts: which calls it makes, and what stopping at any place leaves behind.

#include "tec/run/training_loop.h"

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ops/full.h"
#include "ATen/ops/tensor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec {
namespace {

constexpr int64_t kEpochs = 2;

// Two updates of two micro-steps an epoch and a micro-step that is left over; its weight moves by the sum of the losses
// times the learning rate.
class CountingTask : public Task {
 public:
  absl::Status OpenData() override { return absl::OkStatus(); }
  absl::StatusOr<EpochPlan> Open(const LoadedState* resume) override {
    plan.dataset_size = 10;
    plan.images_per_micro_step = 2;
    plan.steps_per_epoch = 5;
    plan.accum_iter = accum_iter;
    return plan;
  }
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override {
    EXPECT_TRUE(CopyInto(*resume.state.model.Find("weight"), weight_).ok());
    return LoadPosition(resume, plan, names_, changes);
  }
  std::vector<std::string> Describe() const override { return {}; }
  const std::vector<std::string>& loss_names() const override { return names_; }
  Loader* loader() override { return nullptr; }
  double LearningRate(double epoch) const override { return 1 + epoch; }

  void StartEpoch(int64_t epoch, int64_t first_step) override { calls.push_back(absl::StrCat("epoch ", epoch)); }
  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override {
    calls.push_back(absl::StrCat(place.in_update ? "" : "left ", place.step, place.ends_update ? " last" : ""));
    const double loss = loss_of(place.epoch, place.step);
    if (place.in_update) sum_ += loss;
    return at::full({1}, loss, at::kDouble);
  }
  absl::StatusOr<UpdateResult> Update(double lr) override {
    calls.push_back("update");
    weight_ += sum_ * lr;
    sum_ = 0;
    return update;
  }
  bool long_epoch_end() const override { return long_end; }
  absl::Status FinishEpoch(const RunPosition& position, EpochReport* report) override {
    calls.push_back(absl::StrCat("end ", position.epoch));
    report->more = {{"weight", weight_.item<double>()}};
    return end;
  }
  TrainingState Save(const RunPosition& position) const override {
    TrainingState state;
    EXPECT_TRUE(state.model.Add("weight", ViewOf(weight_)).ok());
    state.method = "counting";
    SavePosition(position, plan, names_, &state);
    return state;
  }

  EpochPlan plan;
  int64_t accum_iter = 2;
  std::vector<std::string> calls;
  std::function<double(int64_t, int64_t)> loss_of = [](int64_t epoch, int64_t step) { return 1.0 + 10 * epoch + step; };
  UpdateResult update;
  bool long_end = false;
  absl::Status end;

 private:
  const std::vector<std::string> names_ = {"loss"};
  at::Tensor weight_ = at::full({1}, 0.5, at::kDouble);
  double sum_ = 0;
};

std::string Folder(const std::string& name) { return absl::StrCat(::testing::TempDir(), "/", name); }

absl::StatusOr<LoopResult> RunTask(const std::string& folder, CountingTask* task, int64_t stop_after = -1,
                                   bool late = false) {
  RunContext::Options options;
  options.threads = 1;
  options.quiet = true;
  const auto context = RunContext::Open(options);
  EXPECT_TRUE(context.ok()) << context.status();
  LoopOptions loop;
  loop.method = "counting";
  loop.data_path = "/pictures";
  loop.output_dir = folder;
  loop.epochs = kEpochs;
  loop.save_period = 1;
  loop.read_late = late;
  loop.stop_after_update = [stop_after](int64_t updates) { return updates == stop_after; };
  return TrainingLoop(**context, *task, loop).Run();
}

std::string Read(const std::string& path) {
  const auto text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

std::string LogButTimes(const std::string& folder) {
  std::string result;
  for (const absl::string_view line : absl::StrSplit(Read(folder + "/log.txt"), '\n')) {
    absl::StrAppend(&result, line.substr(0, line.find("\"images_per_second\"")), "\n");
  }
  return result;
}

TEST(TrainingLoopTest, CallsTheTaskInOrder) {
  CountingTask task;
  const auto result = RunTask(Folder("order"), &task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(task.calls,
            std::vector<std::string>({"epoch 0", "0", "1 last", "update", "2", "3 last", "update", "left 4", "end 0",
                                      "epoch 1", "0", "1 last", "update", "2", "3 last", "update", "left 4", "end 1"}));
  EXPECT_FALSE(result->stopped);
  EXPECT_EQ(result->updates, 4);
  EXPECT_EQ(result->epochs, 2);
  EXPECT_EQ(result->losses, std::vector<double>({13}));  // What is left over counts in the mean.
  EXPECT_EQ(result->checkpoint, Folder("order") + "/checkpoint-1.pth");
  // 0.5 + 3 * 1 + 7 * 1.4 + 23 * 2 + 27 * 2.4: the rate is that of the update's first micro-step.
  EXPECT_TRUE(absl::StrContains(LogButTimes(Folder("order")), "\"train_loss\": 13, \"epoch\": 1, \"weight\": 124."))
      << LogButTimes(Folder("order"));
}

TEST(TrainingLoopTest, LeavesOutWhatMakesUpNoUpdateIfAsked) {
  CountingTask task;
  task.plan.left_over_steps = false;
  const auto result = RunTask(Folder("left_out"), &task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(task.calls[6], "update");
  EXPECT_EQ(task.calls[7], "end 0");
  EXPECT_EQ(result->losses, std::vector<double>({12.5}));
}

TEST(TrainingLoopTest, StoppedAnywhereItGoesOnAsIfNothingHadHappened) {
  for (const bool left_over : {true, false}) {
    const std::string whole = Folder(absl::StrCat("whole", left_over));
    CountingTask uninterrupted;
    uninterrupted.plan.left_over_steps = left_over;
    ASSERT_TRUE(RunTask(whole, &uninterrupted).ok());
    for (int64_t stop = 1; stop <= 4; ++stop) {
      for (const int64_t how : {0, 1, 2, 3}) {
        const bool long_end = how % 2 == 1, late = how >= 2;
        const std::string folder = Folder(absl::StrCat("stop", left_over, stop, long_end, late));
        SCOPED_TRACE(folder);
        CountingTask first, second;
        for (CountingTask* task : {&first, &second}) {
          task->plan.left_over_steps = left_over;
          task->long_end = long_end;
        }
        const auto stopped = RunTask(folder, &first, stop, late);
        ASSERT_TRUE(stopped.ok()) << stopped.status();
        EXPECT_EQ(stopped->updates, stop);
        // At the very end of an epoch its end is done, too, unless it takes long.
        const bool ends_epoch = stop % 2 == 0 && !left_over && !long_end;
        EXPECT_EQ(stopped->stopped, !(ends_epoch && stop == 4));
        EXPECT_EQ(first.calls.back(), !ends_epoch ? "update" : stop == 2 ? "end 0" : "end 1");
        const auto resumed = RunTask(folder, &second, /*stop_after=*/-1, late);
        ASSERT_TRUE(resumed.ok()) << resumed.status();
        EXPECT_EQ(resumed->updates, 4);
        for (const char* name : {"/this_checkpoint.pth", "/checkpoint-0.pth", "/checkpoint-1.pth"}) {
          EXPECT_TRUE(Read(folder + name) == Read(whole + name)) << name;
        }
        EXPECT_EQ(LogButTimes(folder), LogButTimes(whole));
        const std::vector<std::string> updates =
            absl::StrSplit(Read(folder + "/metrics.jsonl"), '\n', absl::SkipEmpty());
        EXPECT_EQ(updates.size(), 4);
      }
    }
  }
}

// An end of an epoch that was asked to stop: the state from before it is there.
TEST(TrainingLoopTest, ACancelledEndOfAnEpochIsDoneAgain) {
  CountingTask first, second;
  first.long_end = second.long_end = true;
  first.end = absl::CancelledError("stopped on request");
  const auto stopped = RunTask(Folder("cancelled"), &first);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_TRUE(stopped->stopped);
  EXPECT_EQ(stopped->epochs, 0);
  ASSERT_TRUE(RunTask(Folder("cancelled"), &second).ok());
  EXPECT_EQ(second.calls[0], "epoch 0");
  EXPECT_EQ(second.calls[1], "end 0");
}

TEST(TrainingLoopTest, ALossThatIsNotFiniteEndsTheRunAndNamesItsStep) {
  for (const bool late : {false, true}) {
    CountingTask task;
    task.loss_of = [](int64_t epoch, int64_t step) { return epoch == 1 && step == 2 ? NAN : 1.0; };
    const auto result = RunTask(Folder(absl::StrCat("nan", late)), &task, /*stop_after=*/-1, late);
    EXPECT_TRUE(absl::IsAborted(result.status())) << result.status();
    for (const std::string& part : {std::string("update 4"), std::string("epoch 1, micro-step 2 of 5"),
                                    std::string("loss nan"), absl::StrCat("nan", late, "/checkpoint-0.pth")}) {
      EXPECT_TRUE(absl::StrContains(result.status().message(), part)) << part << " in " << result.status();
    }
    EXPECT_EQ(task.calls.back(), late ? "left 4" : "3 last");  // No update, or one that nobody keeps.
  }
}

// Each micro-step is an update, and what one gave is read when the next one has been given to the device: until then
// its norm is not there.
TEST(TrainingLoopTest, LateNumbersAreReadWhenTheyAreThere) {
  class LateTask : public CountingTask {
   public:
    absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override {
      Compute();
      return CountingTask::MicroStep(place);
    }
    absl::StatusOr<UpdateResult> Update(double lr) override {
      norm_ = at::full({}, -1, at::kDouble);
      update.norms = {norm_};
      absl::StatusOr<UpdateResult> result = CountingTask::Update(lr);
      ++updates_;
      if (updates_ % 5 == 0) Compute();  // The end of the epoch waits for it.
      return result;
    }

   private:
    void Compute() {
      if (norm_.defined()) norm_.fill_(updates_ + 0.5);
    }
    at::Tensor norm_;
    int64_t updates_ = 0;
  };
  LateTask task;
  CountingTask plain;
  task.accum_iter = plain.accum_iter = 1;
  ASSERT_TRUE(RunTask(Folder("late"), &task, /*stop_after=*/-1, /*late=*/true).ok());
  ASSERT_TRUE(RunTask(Folder("at_once"), &plain).ok());
  EXPECT_EQ(task.calls, plain.calls);
  const std::vector<std::string> lines = absl::StrSplit(Read(Folder("late/metrics.jsonl")), '\n', absl::SkipEmpty());
  const std::vector<std::string> others =
      absl::StrSplit(Read(Folder("at_once/metrics.jsonl")), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 10);
  ASSERT_EQ(others.size(), 10);
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t norm = lines[i].find(absl::StrCat("\"grad_norm\": ", i + 1, ".5,"));
    ASSERT_NE(norm, std::string::npos) << lines[i];
    EXPECT_EQ(lines[i].substr(0, norm), others[i].substr(0, others[i].find("\"images_per_second\"")));
  }
  EXPECT_TRUE(Read(Folder("late/checkpoint-1.pth")) == Read(Folder("at_once/checkpoint-1.pth")));
  EXPECT_EQ(LogButTimes(Folder("late")), LogButTimes(Folder("at_once")));
}

TEST(TrainingLoopTest, ASkippedUpdateIsInOrderWithLossScalingAlone) {
  for (const bool scaled : {false, true}) {
    for (const bool late : {false, true}) {
      CountingTask task;
      // Of the second of two models.
      task.update.norms = {at::full({}, 2.0), at::full({}, INFINITY)};
      if (scaled) task.update.loss_scale = 1024;
      const std::string folder = Folder(absl::StrCat("skipped", scaled, late));
      const auto result = RunTask(folder, &task, /*stop_after=*/-1, late);
      EXPECT_EQ(result.ok(), scaled) << result.status();
      if (scaled) {
        EXPECT_TRUE(absl::StrContains(Read(folder + "/metrics.jsonl"), "\"loss_scale\": 1024, \"skipped\": 1"));
      } else {
        EXPECT_TRUE(absl::StrContains(result.status().message(),
                                      "update 1: the gradient's norm is inf at epoch 0, micro-step 1 of 5; lr 1."))
            << result.status();
        EXPECT_EQ(task.calls.back(), late ? "2" : "update");
        EXPECT_FALSE(ReadFile(folder + "/this_checkpoint.pth").ok());
      }
    }
  }
}

TEST(TrainingLoopTest, ACheckpointOfAnotherKindIsRefused) {
  CountingTask task;
  ASSERT_TRUE(RunTask(Folder("kind"), &task).ok());
  auto other = LoadTrainingState(Folder("kind") + "/this_checkpoint.pth");
  ASSERT_TRUE(other.ok()) << other.status();
  other->method = "sorting";
  ASSERT_TRUE(SaveTrainingState(Folder("kind") + "/this_checkpoint.pth", *other).ok());
  const auto result = RunTask(Folder("kind"), &task);
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  EXPECT_TRUE(absl::StrContains(result.status().message(), "of method sorting, not of counting")) << result.status();
}

}  // namespace
}  // namespace tec
