#include "eval/report/run_folder.h"

#include <algorithm>
#include <filesystem>
#include <string>

#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

void Write(const std::string& path, const std::string& text) {
  ASSERT_TRUE(MakeDirectories(std::filesystem::path(path).parent_path().string()).ok());
  ASSERT_TRUE(WriteFile(path, text).ok());
}

TEST(RunFolderTest, PretrainingThatIsUnderWay) {
  const std::string folder = testing::FreshFolder("run_folder");
  Write(folder + "/experiment.textproto",
        "method: TEC\noptimizer { batch_size: 64 blr: 0.5 }\nschedule { epochs: 3 }\n");
  // As it is while a line is being written; not a number where a float16 update was skipped.
  Write(
      folder + "/log.txt",
      "{\"train_loss\": 2.5, \"epoch\": 0, \"knn_top1\": 40.5}\n{\"train_loss\": NaN, \"epoch\": 1, \"knn_top1\": 39}\n"
      "{\"train_lo");
  Write(folder + "/this_checkpoint.pth", "x");
  const auto run = ReadRunFolder(folder);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->kind, RunKind::kPretraining);
  EXPECT_EQ(run->what, "TEC pretraining");
  EXPECT_EQ(run->epochs_done(), 2);
  EXPECT_EQ(run->state(), "epoch 2 of 3");
  EXPECT_EQ(run->best()->first, "knn_top1");
  EXPECT_EQ(run->best()->second, 40.5);
  EXPECT_TRUE(run->epoch_log[1]["train_loss"].is_null());
  EXPECT_EQ(run->newest_checkpoint, "this_checkpoint.pth");
  EXPECT_GT(run->modified, 0);
  const std::pair<std::string, std::string> batch = {"optimizer.batch_size", "64"};
  EXPECT_NE(std::find(run->settings.begin(), run->settings.end(), batch), run->settings.end());
}

TEST(RunFolderTest, FinishedFinetuningAndEvaluators) {
  const std::string folder = testing::FreshFolder("run_folder_kinds");
  Write(folder + "/b/experiment.textproto", "finetune: \"x.pth\"\nlayer_decay: 0.75\nschedule { epochs: 1 }\n");
  Write(folder + "/b/log.txt", "{\"test_acc1\": 81.25, \"epoch\": 0}\n");
  Write(folder + "/a/knn/results.json",
        "{\"checkpoint\": \"x.pth\", \"temperature\": 0.07, \"results\": [{\"k\": 10, \"top1\": 50}, {\"k\": 20, "
        "\"top1\": 52.5}]}");
  Write(folder + "/c/results.json", "{\"choices\": [], \"c\": 0.1, \"accuracy\": {\"top1\": 61}}");
  Write(folder + "/d/results.json", "{\"something\": \"else\"}");
  const auto runs = FindRuns(folder);
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 3);
  EXPECT_EQ((*runs)[0].what, "kNN");
  EXPECT_EQ((*runs)[0].best()->first, "knn_top1 (k = 20)");
  EXPECT_EQ((*runs)[0].best()->second, 52.5);
  EXPECT_EQ((*runs)[0].state(), "evaluated");
  EXPECT_EQ((*runs)[1].what, "finetuning");
  EXPECT_EQ((*runs)[1].state(), "finished");
  EXPECT_EQ((*runs)[1].best()->second, 81.25);
  EXPECT_EQ((*runs)[2].what, "logistic regression");
  EXPECT_EQ((*runs)[2].best()->second, 61);
}

TEST(RunFolderTest, DifferencesLeaveOutWhereResultsGo) {
  RunFolder a, b;
  a.settings = {{"seed", "0"}, {"logging.output_dir", "a"}, {"optimizer.blr", "1"}, {"schedule.epochs", "3"}};
  b.settings = {{"seed", "1"}, {"logging.output_dir", "b"}, {"optimizer.blr", "1"}};
  const auto differences = DifferencesOf({a, b});
  ASSERT_EQ(differences.size(), 2);
  EXPECT_EQ(differences[0].name, "seed");
  EXPECT_EQ(differences[0].values, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(differences[1].name, "schedule.epochs");
  EXPECT_EQ(differences[1].values, (std::vector<std::string>{"3", "-"}));
}

TEST(RunFolderTest, WhatIsNoRun) {
  const std::string folder = testing::FreshFolder("run_folder_none");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadRunFolder(folder).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadRunFolder(folder + "/none").status()));
  EXPECT_TRUE(absl::IsNotFound(FindRuns(folder + "/none").status()));
  EXPECT_EQ(FindRuns(folder)->size(), 0);
  // Files of hostile content are no run, and end nothing.
  Write(folder + "/results.json", "{\"results\": 3, \"temperature\": \"\\ud800\", \"best\": 7}");
  Write(folder + "/log.txt", "[1, 2]\n{\"epoch\": \"x\"}\n");
  const auto run = ReadRunFolder(folder);
  EXPECT_EQ(run.ok() && run->best().has_value(), false);
}

}  // namespace
}  // namespace tec
