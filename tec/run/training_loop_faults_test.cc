// What a loop leaves behind that is stopped, or fails, between two updates.

#include <signal.h>
#include <unistd.h>

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

// The micro-step that has no pictures has changed nothing, but those before it in its update have.
TEST_F(TrainingLoopFaultsTest, TheStateIsSavedWhenDataFailWhereMicroStepsChangeIt) {
  for (const int64_t failing : {2 * kMicroSteps, 3 * kMicroSteps + 1}) {
    SummingTask task;
    task.changes_state = true;
    task.on_step = [failing](int64_t step) {
      return step == failing ? absl::UnavailableError("the folder is away") : absl::OkStatus();
    };
    const absl::Status status = RunTask(folder_ + "/run", &task).status();
    if (failing % kMicroSteps == 0) {
      EXPECT_EQ(status.message(), absl::StrCat("the folder is away. The state after update 2 is saved in ", folder_,
                                               "/run/this_checkpoint.pth"));
    } else {
      EXPECT_EQ(status.message(), "the folder is away");
    }
  }
  ExpectGoesOnFrom(2);
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
