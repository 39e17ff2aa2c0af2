// This test is started again by itself: what it draws then depends on the run's folder.

#include "eval/report/picture_process.h"

#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::vector<ReportSection>> Draw(const RunFolder& run) {
  if (absl::EndsWith(run.path, "fails")) return absl::NotFoundError("no <pictures>");
  if (absl::EndsWith(run.path, "crashes")) std::raise(SIGKILL);
  if (absl::EndsWith(run.path, "hangs")) std::this_thread::sleep_for(std::chrono::hours(1));
  return std::vector<ReportSection>{{"a", "A \xE9", "<p>" + run.what}, {"b", "B", ""}};
}

RunFolder NewRun(const std::string& name) {
  RunFolder run;
  run.path = testing::FreshFolder(name);
  EXPECT_TRUE(WriteFile(run.path + "/experiment.textproto", "method: MAE\n").ok());
  return run;
}

TEST(PictureProcessTest, SectionsComeBack) {
  const auto sections = SectionsByProcess(NewRun("draws"), nullptr);
  ASSERT_TRUE(sections.ok()) << sections.status();
  ASSERT_EQ(sections->size(), 2u);
  EXPECT_EQ((*sections)[0].id, "a");
  EXPECT_EQ((*sections)[0].html, "<p>MAE pretraining");
  EXPECT_EQ((*sections)[1].title, "B");
}

TEST(PictureProcessTest, FailuresAndCrashesAreErrors) {
  const auto failed = SectionsByProcess(NewRun("fails"), nullptr);
  EXPECT_EQ(failed.status(), absl::NotFoundError("no <pictures>"));
  const auto crashed = SectionsByProcess(NewRun("crashes"), nullptr);
  EXPECT_EQ(crashed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(crashed.status().message()), HasSubstr("ended by signal 9"));
}

TEST(PictureProcessTest, IsEndedWhenAskedTo) {
  int asked = 0;
  const auto stopped = SectionsByProcess(NewRun("hangs"), [&asked] { return ++asked > 3; });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  if (const std::optional<int> code = tec::DrawIfAsked(tec::Draw)) return *code;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
