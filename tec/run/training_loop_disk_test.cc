// A run on a disk that loses what was not synced, in a folder that is away for a moment, under a clock that is set
// back.

#include <dlfcn.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/power_failure.h"
#include "tec/run/event.pb.h"
#include "tec/run/event_file.h"
#include "tec/run/summing_task.h"

namespace {
std::atomic<int64_t> seconds_back{0};
}  // namespace

// Stands before the C library's in this program: the time of day is what an administrator has set it to, while the
// steady clock goes on.
extern "C" int clock_gettime(clockid_t clock, struct timespec* time) {
  using Function = int (*)(clockid_t, struct timespec*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec -= seconds_back;
  return result;
}

namespace tec {
namespace {

// Updates whose events are in `folder`; EXPECTs that every file can be read to its end.
std::map<int64_t, int> UpdatesInEvents(const std::string& folder) {
  std::map<int64_t, int> updates;
  for (const std::string& path : EventFiles(folder)) {
    const std::string content = *ReadFile(path);
    absl::string_view rest = content;
    while (const std::optional<EventRecord> taken = TakeRecord(&rest)) {
      run::Event event;
      EXPECT_TRUE(event.ParseFromArray(taken->record.data(), static_cast<int>(taken->record.size())));
      if (event.has_of_update()) ++updates[event.of_update()];
    }
    EXPECT_TRUE(rest.empty()) << path << " cannot be read to its end";
  }
  return updates;
}

class TrainingLoopDiskTest : public ::testing::Test {
 protected:
  TrainingLoopDiskTest() {
    std::string pattern = std::filesystem::canonical(::testing::TempDir()).string() + "/diskXXXXXX";
    base_ = mkdtemp(pattern.data());
    SummingTask task;
    EXPECT_TRUE(RunTask(base_ + "/whole", &task).ok());
  }
  static std::string Read(const std::string& path) { return ReadFile(path).value_or(""); }
  // The run in `folder` is over, and everything there is what an undisturbed one leaves.
  void ExpectWhole(const std::string& folder, const std::string& events) {
    EXPECT_TRUE(Read(folder + "/this_checkpoint.pth") == Read(base_ + "/whole/this_checkpoint.pth"));
    const std::vector<std::string> lines = absl::StrSplit(Read(folder + "/metrics.jsonl"), '\n', absl::SkipEmpty());
    ASSERT_EQ(lines.size(), static_cast<size_t>(kUpdates));
    for (int64_t i = 0; i < kUpdates; ++i) {
      EXPECT_TRUE(absl::StartsWith(lines[i], absl::StrCat("{\"update\": ", i + 1, ","))) << lines[i];
    }
    EXPECT_EQ(std::vector<std::string>(absl::StrSplit(Read(folder + "/log.txt"), '\n', absl::SkipEmpty())).size(), 1);
    const std::map<int64_t, int> updates = UpdatesInEvents(events);
    EXPECT_EQ(updates, (std::map<int64_t, int>{{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
  }
  std::string base_;
};

// It goes before any call by which files are written and synced, in a run that saves after every update.
TEST_F(TrainingLoopDiskTest, AfterAPowerFailureCheckpointAndLogsSayTheSame) {
  const std::string root = base_ + "/disk";
  std::filesystem::create_directory(root);
  std::mutex mutex;  // Checkpoints are written by a thread.
  std::vector<std::string> left;
  const auto options = [](const std::string& at) {
    LoopOptions loop;
    loop.log_dir = at + "/events/of_run";
    return loop;
  };
  {
    PowerFailure disk(root);
    file_operations::SetFaultHook([&](file_operations::Operation) {
      const std::lock_guard<std::mutex> lock(mutex);
      for (const auto names : {PowerFailure::Names::kSynced, PowerFailure::Names::kNewest}) {
        left.push_back(absl::StrCat(base_, "/left", left.size()));
        EXPECT_TRUE(disk.LeaveIn(left.back(), names).ok());
      }
      return 0;
    });
    SummingTask task;
    task.on_step = [](int64_t step) {
      if (step % kMicroSteps == 0) raise(SIGUSR1);
      return absl::OkStatus();
    };
    const absl::StatusOr<LoopResult> result = RunTask(root + "/run", &task, options(root));
    file_operations::SetFaultHook(nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
  }
  ASSERT_GT(left.size(), 100);
  std::set<int64_t> went_on_from;
  for (const std::string& copy : left) {
    SCOPED_TRACE(copy);
    SummingTask task;
    const absl::StatusOr<LoopResult> result = RunTask(copy + "/run", &task, options(copy));
    ASSERT_TRUE(result.ok()) << result.status();
    went_on_from.insert(task.first);
    ExpectWhole(copy + "/run", copy + "/events/of_run");
    std::filesystem::remove_all(copy);
  }
  // -1: the whole run is left.
  EXPECT_EQ(went_on_from, (std::set<int64_t>{-1, 0, 5, 10, 15, 20}));
}

TEST_F(TrainingLoopDiskTest, AnOutputFolderThatIsAwayForTwoSecondsIsWaitedFor) {
  const std::string folder = base_ + "/run";
  SummingTask task;
  std::thread restorer;
  task.on_step = [&](int64_t step) {
    if (step != kMicroSteps + 1) return absl::OkStatus();
    raise(SIGUSR1);  // A line of the log, and a checkpoint.
    std::filesystem::rename(folder, folder + ".away");
    restorer = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      std::filesystem::rename(folder + ".away", folder);
    });
    return absl::OkStatus();
  };
  const absl::StatusOr<LoopResult> result = RunTask(folder, &task);
  restorer.join();
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectWhole(folder, folder);
}

TEST_F(TrainingLoopDiskTest, AClockThatIsSetBackStopsNoTimedSavesAndNoRate) {
  const std::string folder = base_ + "/clock";
  SummingTask task;
  std::set<int64_t> saved;
  task.on_step = [&](int64_t step) {
    if (step == kMicroSteps) seconds_back = 86400;
    if (step % kMicroSteps == 1) std::this_thread::sleep_for(std::chrono::milliseconds(150));
    // The save of the update before is in the background.
    if (step % kMicroSteps == kMicroSteps - 1 && step > kMicroSteps) {
      const absl::StatusOr<TrainingState> state = LoadTrainingState(folder + "/this_checkpoint.pth");
      if (state.ok()) saved.insert(state->next_micro_step);
    }
    return absl::OkStatus();
  };
  LoopOptions loop;
  loop.save_every_minutes = 0.1 / 60;
  const absl::StatusOr<LoopResult> result = RunTask(folder, &task, loop);
  seconds_back = 0;
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(saved.size(), 3);
  EXPECT_GT(result->seconds, 0.5);
  EXPECT_LT(result->images_per_second, kMicroSteps * kUpdates / 0.5);
  for (const auto& line : absl::StrSplit(Read(folder + "/metrics.jsonl"), '\n', absl::SkipEmpty())) {
    const absl::string_view key = "\"images_per_second\": ";
    const absl::string_view rest = line.substr(line.find(key) + key.size());
    double rate = 0;
    ASSERT_TRUE(absl::SimpleAtod(rest.substr(0, rest.find(',')), &rate)) << line;
    EXPECT_GT(rate, 0) << line;
    EXPECT_LT(rate, kMicroSteps / 0.15) << line;
  }
}

}  // namespace
}  // namespace tec
