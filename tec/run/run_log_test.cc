#include "tec/run/run_log.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

std::string FreshFolder(const std::string& name) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  std::filesystem::remove_all(path);
  EXPECT_TRUE(MakeDirectories(path).ok());
  return path;
}

// Two updates an epoch, `updates` of them, with scalars of both axes.
void Log(const std::string& folder, const RunLog::Position& position, int64_t updates) {
  absl::StatusOr<RunLog> log = RunLog::Open(folder, "", position);
  ASSERT_TRUE(log.ok()) << log.status();
  for (int64_t update = position.updates + 1; update <= updates; ++update) {
    ASSERT_TRUE(log->LogUpdate(update, {{"update", update}}, update * 500, {{"loss", 1}}).ok());
    if (update % 2 == 1) continue;
    const int64_t epoch = update / 2 - 1;
    // As the monitor's points: at the step at which the next run starts.
    ASSERT_TRUE(log->LogEpoch(epoch, {{"epoch", epoch}}, (epoch + 1) * 1000, {{"monitor", 1}}).ok());
  }
  ASSERT_TRUE(log->Sync().ok());
}

// How many points the events of the folder have, whatever file they are in: each has one tag, and no other text has.
int Points(const std::string& folder, const std::string& tag) {
  int points = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().find("tfevents") == std::string::npos) continue;
    const std::string content = *ReadFile(entry.path().string());
    for (size_t at = 0; (at = content.find(tag, at)) != std::string::npos; ++at) ++points;
  }
  return points;
}

TEST(RunLogTest, AllLogsHaveWhatTheCheckpointSaysWhateverWasKilledWhen) {
  // Killed after 0 to 5 updates, with a checkpoint of 0, or of any of them; 0: before the first one.
  for (int64_t killed = 0; killed <= 5; ++killed) {
    for (int64_t saved = 0; saved <= killed; ++saved) {
      SCOPED_TRACE(absl::StrCat(killed, " ", saved));
      const std::string folder = FreshFolder(absl::StrCat("logs", killed, saved));
      Log(folder, RunLog::Position(), killed);
      RunLog::Position position;
      position.updates = saved;
      position.epoch = saved / 2;
      position.thousandths = saved * 500;
      Log(folder, position, 6);
      EXPECT_EQ(
          *ReadFile(folder + "/metrics.jsonl"),
          "{\"update\": 1}\n{\"update\": 2}\n{\"update\": 3}\n{\"update\": 4}\n{\"update\": 5}\n{\"update\": 6}\n");
      EXPECT_EQ(*ReadFile(folder + "/log.txt"), "{\"epoch\": 0}\n{\"epoch\": 1}\n{\"epoch\": 2}\n");
      EXPECT_EQ(Points(folder, "loss"), 6);
      EXPECT_EQ(Points(folder, "monitor"), 3);
    }
  }
}

// What a process has logged is there when it is killed: no buffer of its own holds anything back.
TEST(RunLogTest, NothingLoggedWaitsForAFlush) {
  const std::string folder = FreshFolder("flushed");
  absl::StatusOr<RunLog> log = RunLog::Open(folder, "", RunLog::Position());
  ASSERT_TRUE(log.ok()) << log.status();
  for (int64_t update = 1; update <= 3; ++update) {
    ASSERT_TRUE(log->LogUpdate(update, {{"update", update}}, update, {{"loss", 1}}).ok());
    EXPECT_EQ(Points(folder, "loss"), update);
  }
}

}  // namespace
}  // namespace tec
