// The page follows a folder that a test writes as a run would.

#include "eval/report/background_report.h"

#include <chrono>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "eval/report/run_info.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The log of so many epochs.
void WriteLog(const std::string& folder, int epochs) {
  std::string log;
  for (int e = 0; e < epochs; ++e) absl::StrAppend(&log, "{\"train_loss\": ", 2.0 / (e + 1), ", \"epoch\": ", e, "}\n");
  ASSERT_TRUE(WriteFile(folder + "/log.txt", log).ok());
}

std::string NewRun(const std::string& name) {
  const std::string folder = testing::FreshFolder(name);
  EXPECT_TRUE(WriteFile(folder + "/experiment.textproto", "method: MAE schedule { epochs: 3 }\n").ok());
  return folder;
}

// Waits for the page to say it; a watcher that never comes is a failure, however long it takes.
bool Says(const std::string& page, const std::string& text) {
  for (int i = 0; i < 3000; ++i) {
    const auto content = ReadFile(page);
    if (content.ok() && content->find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

BackgroundReportOptions Quick(const std::string& folder) {
  BackgroundReportOptions options;
  options.folder = folder;
  options.poll_seconds = 0.01;
  options.share = 0.9;
  return options;
}

TEST(BackgroundReportTest, APageForEachEpochAndALastOne) {
  const std::string folder = NewRun("epochs"), page = folder + "/report.html";
  BackgroundReport report(Quick(folder));
  WriteLog(folder, 1);
  EXPECT_TRUE(Says(page, "epoch 1 of 3"));
  WriteLog(folder, 2);
  EXPECT_TRUE(Says(page, "epoch 2 of 3"));
  WriteLog(folder, 3);
  EXPECT_EQ(report.Finish(/*pictures=*/true), page);
  EXPECT_THAT(*ReadFile(page), HasSubstr("finished"));
  const auto info = ReadRunInfo(folder);
  ASSERT_EQ(info.size(), 1u);
  EXPECT_THAT(info[0].at("command").get<std::string>(), HasSubstr("background_report_test"));
  EXPECT_THAT(*ReadFile(page), HasSubstr("background_report_test"));
}

TEST(BackgroundReportTest, NothingIsWrittenIntoAFolderThatNoRunWroteTo) {
  const std::string folder = NewRun("untouched");
  WriteLog(folder, 2);  // Another run's.
  {
    BackgroundReport report(Quick(folder));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(report.Finish(true), "");
  }
  EXPECT_FALSE(ReadFile(folder + "/report.html").ok());
  EXPECT_TRUE(ReadRunInfo(folder).empty());
}

TEST(BackgroundReportTest, PicturesOfNewCheckpointsOnceAndFailuresAreSaid) {
  const std::string folder = NewRun("pictures"), page = folder + "/report.html";
  int drawn = 0;
  bool fails = false, stopped = false;
  BackgroundReportOptions options = Quick(folder);
  options.share = 1e-9;  // Nothing while it runs.
  options.last_seconds = 1000;
  options.pictures = [&](const RunFolder&,
                         const std::function<bool()>& stop) -> absl::StatusOr<std::vector<ReportSection>> {
    ++drawn;
    if (fails) return absl::NotFoundError("gone <away>");
    if (stopped || stop()) return absl::CancelledError("");
    return std::vector<ReportSection>{{"seen", "Seen", "<p>drawn</p>"}};
  };
  const auto finish = [&](bool pictures) {
    BackgroundReport report(options);
    static int epochs = 0;
    WriteLog(folder, ++epochs);
    EXPECT_EQ(report.Finish(pictures), page);
    return *ReadFile(page);
  };
  EXPECT_THAT(finish(true), Not(HasSubstr("<p>drawn</p>")));  // No checkpoint yet.
  EXPECT_EQ(drawn, 0);
  ASSERT_TRUE(WriteFile(folder + "/checkpoint-0.pth", "x").ok());
  EXPECT_THAT(finish(false), Not(HasSubstr("<p>drawn</p>")));
  EXPECT_EQ(drawn, 0);
  EXPECT_THAT(finish(true), HasSubstr("<p>drawn</p>"));
  EXPECT_EQ(drawn, 1);
  fails = true;
  EXPECT_THAT(finish(true), HasSubstr("Not drawn: gone &lt;away&gt;"));
  fails = false;
  stopped = true;
  EXPECT_THAT(finish(true), HasSubstr("Not drawn: it would have held up the run"));
}

TEST(BackgroundReportTest, ARunThatCannotBeReadIsAWarning) {
  const std::string folder = testing::FreshFolder("broken");
  BackgroundReport report(Quick(folder));
  WriteLog(folder, 1);  // No experiment: what run it is cannot be told.
  EXPECT_EQ(report.Finish(true), "");
}

}  // namespace
}  // namespace tec
