// What a loop leaves behind that is stopped, or fails, between two updates.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/run/folder_lock.h"
#include "tec/run/summing_task.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

// Parameter: whether an update is read only when the next micro-step is queued, as on a GPU.
class TrainingLoopFaultsTest : public ::testing::TestWithParam<bool> {
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
  absl::StatusOr<LoopResult> Train(SummingTask* task) const {
    LoopOptions loop;
    loop.read_late = GetParam();
    return RunTask(folder_ + "/run", task, loop);
  }
  // The checkpoint that is there is of `updates` updates, and going on gives what the whole run gives.
  void ExpectGoesOnFrom(int64_t updates) {
    SummingTask task;
    const auto result = Train(&task);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(task.first, updates * kMicroSteps);
    EXPECT_TRUE(Read("/run/this_checkpoint.pth") == Read("/whole/this_checkpoint.pth"));
    const std::vector<std::string> lines = absl::StrSplit(Read("/run/metrics.jsonl"), '\n', absl::SkipEmpty());
    ASSERT_EQ(lines.size(), static_cast<size_t>(kUpdates));
    for (int64_t i = 0; i < kUpdates; ++i) EXPECT_THAT(lines[i], HasSubstr(absl::StrCat("\"update\": ", i + 1, ",")));
  }
  std::string folder_;
};

TEST_P(TrainingLoopFaultsTest, ASignalIsObeyedAtTheNextMicroStep) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    std::filesystem::remove_all(folder_ + "/run");
    SummingTask task;
    task.on_step = [signal](int64_t step) {
      if (step == 2 * kMicroSteps + 1) raise(signal);
      return absl::OkStatus();
    };
    const auto result = Train(&task);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->stopped);
    EXPECT_EQ(result->updates, 2);
    EXPECT_EQ(task.last, 2 * kMicroSteps + 1);
    ExpectGoesOnFrom(2);
  }
}

// As batch normalisation does.
TEST_P(TrainingLoopFaultsTest, AnUpdateWhoseMicroStepsChangeTheStateIsEnded) {
  SummingTask task;
  task.changes_state = true;
  task.on_step = [](int64_t step) {
    if (step == 2 * kMicroSteps + 1) raise(SIGTERM);
    return absl::OkStatus();
  };
  const auto result = Train(&task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(task.last, 3 * kMicroSteps - 1);
  ExpectGoesOnFrom(3);
}

TEST_P(TrainingLoopFaultsTest, StoppedBeforeTheFirstUpdateThereIsNothingToSave) {
  SummingTask task;
  task.on_step = [](int64_t) {
    raise(SIGTERM);
    return absl::OkStatus();
  };
  const auto result = Train(&task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(task.last, 0);
  EXPECT_EQ(result->checkpoint, "");
  ExpectGoesOnFrom(0);
}

TEST_P(TrainingLoopFaultsTest, AUserSignalSavesAndGoesOn) {
  SummingTask task;
  task.on_step = [](int64_t step) {
    if (step == kMicroSteps + 2) raise(SIGUSR1);
    return absl::OkStatus();
  };
  const auto result = Train(&task);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->stopped);
  EXPECT_EQ(result->updates, kUpdates);
  EXPECT_TRUE(Read("/run/this_checkpoint.pth") == Read("/whole/this_checkpoint.pth"));
  // The end of the epoch has pushed it out of its place.
  EXPECT_FALSE(ReadFile(folder_ + "/whole/this_checkpoint.prev.pth").ok());
  std::filesystem::rename(folder_ + "/run/this_checkpoint.prev.pth", folder_ + "/run/this_checkpoint.pth");
  ExpectGoesOnFrom(2);
}

TEST_P(TrainingLoopFaultsTest, TheStateIsSavedWhenDataFail) {
  SummingTask task;
  task.on_step = [](int64_t step) {
    return step == 3 * kMicroSteps + 2 ? absl::UnavailableError("the folder is away") : absl::OkStatus();
  };
  const absl::Status status = Train(&task).status();
  EXPECT_EQ(status.message(), absl::StrCat("the folder is away. The state after update 3 is saved in ", folder_,
                                           "/run/this_checkpoint.pth"));
  ExpectGoesOnFrom(3);
}

// The micro-step that has no pictures has changed nothing, but those before it in its update have.
TEST_P(TrainingLoopFaultsTest, TheStateIsSavedWhenDataFailWhereMicroStepsChangeIt) {
  for (const int64_t failing : {2 * kMicroSteps, 3 * kMicroSteps + 1}) {
    SummingTask task;
    task.changes_state = true;
    task.on_step = [failing](int64_t step) {
      return step == failing ? absl::UnavailableError("the folder is away") : absl::OkStatus();
    };
    const absl::Status status = Train(&task).status();
    if (failing % kMicroSteps == 0) {
      EXPECT_EQ(status.message(), absl::StrCat("the folder is away. The state after update 2 is saved in ", folder_,
                                               "/run/this_checkpoint.pth"));
    } else {
      EXPECT_EQ(status.message(), "the folder is away");
    }
  }
  ExpectGoesOnFrom(2);
}

TEST_P(TrainingLoopFaultsTest, TheStateIsSavedWhenALibraryThrows) {
  SummingTask task;
  task.on_step = [](int64_t step) -> absl::Status {
    if (step == kMicroSteps) throw std::runtime_error("could not create a primitive\nbacktrace");
    return absl::OkStatus();
  };
  const absl::Status status = Train(&task).status();
  EXPECT_TRUE(absl::StartsWith(status.message(), "could not create a primitive. The state after update 1 is saved in "))
      << status;
  ExpectGoesOnFrom(1);
}

TEST_P(TrainingLoopFaultsTest, TheStateIsSavedWhenALogFails) {
  const std::string log = folder_ + "/run/metrics.jsonl";
  SummingTask task;
  task.on_step = [&](int64_t step) {
    if (step == 2 * kMicroSteps + 1) {  // Nothing can be written under this name any more.
      std::filesystem::rename(log, folder_ + "/away");
      std::filesystem::create_directory(log);
    }
    return absl::OkStatus();
  };
  const absl::Status status = Train(&task).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("The state after update 3 is saved in "));
  std::filesystem::remove(log);
  // The one line that could not be written.
  std::string lines = *ReadFile(folder_ + "/away");
  ASSERT_TRUE(WriteFile(log, absl::StrCat(lines, "{\"update\": 3, }\n")).ok());
  ExpectGoesOnFrom(3);
}

// A save is asked for in every update: none is made of the one with the loss that is no number, or after it.
TEST_P(TrainingLoopFaultsTest, WhatALossThatIsNotFiniteSpoiltIsNotSaved) {
  // In the middle of an update, and at its end; in the last one of the epoch.
  for (const int64_t spoilt : {2 * kMicroSteps + 1, 3 * kMicroSteps - 1, kUpdates * kMicroSteps - 1}) {
    std::filesystem::remove_all(folder_ + "/run");
    const int64_t update = spoilt / kMicroSteps;  // From 0.
    SummingTask task;
    task.spoilt = spoilt;
    task.on_step = [](int64_t step) {
      if (step % kMicroSteps == 0) raise(SIGUSR1);
      return absl::OkStatus();
    };
    const absl::Status status = Train(&task).status();
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_TRUE(absl::StartsWith(status.message(),
                                 absl::StrCat("update ", update + 1, ": the loss is not finite at epoch 0, micro-step ",
                                              spoilt, " of 20: loss nan; lr ")))
        << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("Stopped without saving; the newest checkpoint, from before"));
    // No further than the micro-step that the device was given meanwhile.
    EXPECT_EQ(task.last, std::min((update + 1) * kMicroSteps - (GetParam() ? 0 : 1), kUpdates * kMicroSteps - 1));
    ExpectGoesOnFrom(update);
  }
}

// The update before was good, and is known to be only when data have failed.
TEST_P(TrainingLoopFaultsTest, AnUpdateIsSavedWhenDataFailBeforeItIsRead) {
  SummingTask task;
  task.on_step = [](int64_t step) {
    return step == 3 * kMicroSteps ? absl::UnavailableError("the folder is away") : absl::OkStatus();
  };
  EXPECT_THAT(std::string(Train(&task).status().message()), HasSubstr("The state after update 3 is saved in "));
  ExpectGoesOnFrom(3);
}

TEST_P(TrainingLoopFaultsTest, AnUpdateIsNotSavedWhenItsLossIsNotFiniteAndThenDataFail) {
  SummingTask task;
  task.spoilt = 3 * kMicroSteps - 2;
  task.on_step = [](int64_t step) {
    if (step == kMicroSteps) raise(SIGUSR1);
    return step == 3 * kMicroSteps ? absl::UnavailableError("the folder is away") : absl::OkStatus();
  };
  EXPECT_THAT(std::string(Train(&task).status().message()), HasSubstr("update 3: the loss is not finite"));
  ExpectGoesOnFrom(2);
}

TEST_P(TrainingLoopFaultsTest, AnUpdateIsLoggedWhenTheNextMicroStepIsQueued) {
  SummingTask task;
  task.on_step = [&](int64_t step) {
    const std::string text = ReadFile(folder_ + "/run/metrics.jsonl").value_or("");
    const int64_t done = step / kMicroSteps, lines = std::count(text.begin(), text.end(), '\n');
    EXPECT_EQ(lines, done - (GetParam() && done > 0 && step % kMicroSteps == 0 ? 1 : 0)) << step;
    return absl::OkStatus();
  };
  ASSERT_TRUE(Train(&task).ok());
}

TEST_P(TrainingLoopFaultsTest, NobodyElseWritesIntoTheFolderMeanwhile) {
  SummingTask task;
  task.on_step = [&](int64_t) {
    const absl::Status status = FolderLock::Take(folder_ + "/run").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return absl::OkStatus();
  };
  ASSERT_TRUE(Train(&task).ok());
  EXPECT_TRUE(FolderLock::Take(folder_ + "/run").ok());
  SummingTask refused;
  const auto lock = FolderLock::Take(folder_ + "/run");
  const absl::Status status = Train(&refused).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(refused.last, -1);
}

INSTANTIATE_TEST_SUITE_P(AtOnceAndLate, TrainingLoopFaultsTest, ::testing::Bool());

}  // namespace
}  // namespace tec
