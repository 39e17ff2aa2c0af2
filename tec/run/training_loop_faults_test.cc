// What a loop leaves behind that is stopped, or fails, between two updates.

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ATen/ops/full.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/run/folder_lock.h"
#include "tec/run/training_loop.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMicroSteps = 5, kUpdates = 4;  // Of an update; of an epoch.

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
    return at::full({1}, static_cast<double>(place.step), at::kDouble);
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
  bool changes_state = false;

 private:
  const std::vector<std::string> names_ = {"loss"};
  EpochPlan plan_;
  at::Tensor weight_ = at::full({1}, 0.5, at::kDouble);
  double sum_ = 0;
};

absl::StatusOr<LoopResult> RunTask(const std::string& folder, SummingTask* task) {
  RunContext::Options options;
  options.threads = 1;
  options.quiet = true;
  const auto context = RunContext::Open(options);
  EXPECT_TRUE(context.ok()) << context.status();
  LoopOptions loop;
  loop.method = "summing";
  loop.data_path = "/pictures";
  loop.output_dir = folder;
  loop.epochs = 1;
  return TrainingLoop(**context, *task, loop).Run();
}

class TrainingLoopFaultsTest : public ::testing::Test {
 protected:
  TrainingLoopFaultsTest() {
    std::string pattern = ::testing::TempDir() + "/faultsXXXXXX";
    folder_ = mkdtemp(pattern.data());
    SummingTask task;
    EXPECT_TRUE(RunTask(folder_ + "/whole", &task).ok());
  }
  std::string Read(const std::string& name) const {
    const auto text = ReadFile(folder_ + name);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }
  // The checkpoint that is there is of `updates` updates, and going on gives what the whole run gives.
  void ExpectGoesOnFrom(int64_t updates) {
    SummingTask task;
    const auto result = RunTask(folder_ + "/run", &task);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(task.first, updates * kMicroSteps);
    EXPECT_TRUE(Read("/run/this_checkpoint.pth") == Read("/whole/this_checkpoint.pth"));
    const std::vector<std::string> lines = absl::StrSplit(Read("/run/metrics.jsonl"), '\n', absl::SkipEmpty());
    ASSERT_EQ(lines.size(), static_cast<size_t>(kUpdates));
    for (int64_t i = 0; i < kUpdates; ++i) EXPECT_THAT(lines[i], HasSubstr(absl::StrCat("\"update\": ", i + 1, ",")));
  }
  std::string folder_;
};

TEST_F(TrainingLoopFaultsTest, ASignalIsObeyedAtTheNextMicroStep) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    std::filesystem::remove_all(folder_ + "/run");
    SummingTask task;
    task.on_step = [signal](int64_t step) {
      if (step == 2 * kMicroSteps + 1) raise(signal);
      return absl::OkStatus();
    };
    const auto result = RunTask(folder_ + "/run", &task);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->stopped);
    EXPECT_EQ(result->updates, 2);
    EXPECT_EQ(task.last, 2 * kMicroSteps + 1);
    ExpectGoesOnFrom(2);
  }
}

// As batch normalisation does.
TEST_F(TrainingLoopFaultsTest, AnUpdateWhoseMicroStepsChangeTheStateIsEnded) {
  SummingTask task;
  task.changes_state = true;
  task.on_step = [](int64_t step) {
    if (step == 2 * kMicroSteps + 1) raise(SIGTERM);
    return absl::OkStatus();
  };
  const auto result = RunTask(folder_ + "/run", &task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(task.last, 3 * kMicroSteps - 1);
  ExpectGoesOnFrom(3);
}

TEST_F(TrainingLoopFaultsTest, StoppedBeforeTheFirstUpdateThereIsNothingToSave) {
  SummingTask task;
  task.on_step = [](int64_t) {
    raise(SIGTERM);
    return absl::OkStatus();
  };
  const auto result = RunTask(folder_ + "/run", &task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(task.last, 0);
  EXPECT_EQ(result->checkpoint, "");
  ExpectGoesOnFrom(0);
}

TEST_F(TrainingLoopFaultsTest, AUserSignalSavesAndGoesOn) {
  SummingTask task;
  task.on_step = [](int64_t step) {
    if (step == kMicroSteps + 2) raise(SIGUSR1);
    return absl::OkStatus();
  };
  const auto result = RunTask(folder_ + "/run", &task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->stopped);
  EXPECT_EQ(result->updates, kUpdates);
  EXPECT_TRUE(Read("/run/this_checkpoint.pth") == Read("/whole/this_checkpoint.pth"));
  // The end of the epoch has pushed it out of its place.
  EXPECT_FALSE(ReadFile(folder_ + "/whole/this_checkpoint.prev.pth").ok());
  std::filesystem::rename(folder_ + "/run/this_checkpoint.prev.pth", folder_ + "/run/this_checkpoint.pth");
  ExpectGoesOnFrom(2);
}

TEST_F(TrainingLoopFaultsTest, TheStateIsSavedWhenDataFail) {
  SummingTask task;
  task.on_step = [](int64_t step) {
    return step == 3 * kMicroSteps + 2 ? absl::UnavailableError("the folder is away") : absl::OkStatus();
  };
  const absl::Status status = RunTask(folder_ + "/run", &task).status();
  EXPECT_EQ(status.message(), absl::StrCat("the folder is away. The state after update 3 is saved in ", folder_,
                                           "/run/this_checkpoint.pth"));
  ExpectGoesOnFrom(3);
}

TEST_F(TrainingLoopFaultsTest, TheStateIsSavedWhenALibraryThrows) {
  SummingTask task;
  task.on_step = [](int64_t step) -> absl::Status {
    if (step == kMicroSteps) throw std::runtime_error("could not create a primitive\nbacktrace");
    return absl::OkStatus();
  };
  const absl::Status status = RunTask(folder_ + "/run", &task).status();
  EXPECT_TRUE(absl::StartsWith(status.message(), "could not create a primitive. The state after update 1 is saved in "))
      << status;
  ExpectGoesOnFrom(1);
}

TEST_F(TrainingLoopFaultsTest, TheStateIsSavedWhenALogFails) {
  const std::string log = folder_ + "/run/metrics.jsonl";
  SummingTask task;
  task.on_step = [&](int64_t step) {
    if (step == 2 * kMicroSteps) {  // Nothing can be written under this name any more.
      std::filesystem::rename(log, folder_ + "/away");
      std::filesystem::create_directory(log);
    }
    return absl::OkStatus();
  };
  const absl::Status status = RunTask(folder_ + "/run", &task).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("The state after update 3 is saved in "));
  std::filesystem::remove(log);
  // The one line that could not be written.
  std::string lines = *ReadFile(folder_ + "/away");
  ASSERT_TRUE(WriteFile(log, absl::StrCat(lines, "{\"update\": 3, }\n")).ok());
  ExpectGoesOnFrom(3);
}

TEST_F(TrainingLoopFaultsTest, NobodyElseWritesIntoTheFolderMeanwhile) {
  SummingTask task;
  task.on_step = [&](int64_t) {
    const absl::Status status = FolderLock::Take(folder_ + "/run").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return absl::OkStatus();
  };
  ASSERT_TRUE(RunTask(folder_ + "/run", &task).ok());
  EXPECT_TRUE(FolderLock::Take(folder_ + "/run").ok());
  SummingTask refused;
  const auto lock = FolderLock::Take(folder_ + "/run");
  const absl::Status status = RunTask(folder_ + "/run", &refused).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(refused.last, -1);
}

}  // namespace
}  // namespace tec
