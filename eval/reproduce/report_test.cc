#include "eval/reproduce/report.h"

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::SizeIs;
using ::testing::StartsWith;

ReproducePlan Plan(Scale scale, const std::string& folder) {
  ReproduceOptions options;
  options.scale = scale;
  options.data_path = "/data";
  options.output_dir = folder;
  if (scale == Scale::kMini) {
    options.seeds = {0, 1};
  } else {
    options.base_model = "/base.pth";
  }
  absl::StatusOr<ReproducePlan> plan = MakePlan(options, {100, 10});
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

StageResult Result(ResultKind kind, const char* encoder, int64_t seed, double top1) {
  return {absl::StrCat("seed-", seed, "/", encoder), encoder, seed, kind, top1};
}

std::vector<StageResult> MiniResults(double tec_knn_of_seed_1) {
  std::vector<StageResult> results;
  for (const int64_t seed : {0, 1}) {
    results.push_back(Result(ResultKind::kKnnJson, "base", seed, 40));
    results.push_back(Result(ResultKind::kKnnJson, "tec", seed, seed == 1 ? tec_knn_of_seed_1 : 45));
    results.push_back(Result(ResultKind::kFinetuneLog, "base", seed, 54));
    results.push_back(Result(ResultKind::kFinetuneLog, "tec", seed, 58.25));
  }
  return results;
}

TEST(Judge, PaperWithinToleranceIsReproduced) {
  const ReproducePlan plan = Plan(Scale::kPaper, "/out");
  const auto judge = [&](double top1) {
    return Judge(plan, {Result(ResultKind::kFinetuneLog, "tec", 5, top1)}).reproduced;
  };
  EXPECT_EQ(judge(84.7), true);
  EXPECT_EQ(judge(84.5), true);     // Exactly at the tolerance.
  EXPECT_EQ(judge(84.498), false);  // One image of 50,000 less.
  EXPECT_EQ(judge(85.4), true);
  const auto text = [&](double top1) { return Judge(plan, {Result(ResultKind::kFinetuneLog, "tec", 5, top1)}).text; };
  EXPECT_THAT(text(84.9), StartsWith("Reproduced"));
  EXPECT_THAT(text(84.902), StartsWith("Above the published result"));
  EXPECT_EQ(Judge(plan, {}).reproduced, std::nullopt);
}

TEST(Judge, MiniNeedsEverySeedAndBothMeasures) {
  const ReproducePlan plan = Plan(Scale::kMini, "/out");
  EXPECT_EQ(Judge(plan, MiniResults(45)).reproduced, true);
  EXPECT_EQ(Judge(plan, MiniResults(40)).reproduced, false);  // Equal is not above.
  std::vector<StageResult> results = MiniResults(45);
  results.pop_back();
  EXPECT_EQ(Judge(plan, results).reproduced, std::nullopt);
}

TEST(FormatResults, ShowsSeedsMeansAndWhatIsMissing) {
  const std::string table = FormatResults(Plan(Scale::kMini, "/out"), MiniResults(46));
  EXPECT_THAT(table, HasSubstr("| new model (TEC)                |    1 |     46.00 |           58.25 |"));
  EXPECT_THAT(table, HasSubstr("| new model (TEC)                | mean |     45.50 |           58.25 |"));
  EXPECT_THAT(table, HasSubstr("| from scratch                   |    0 |         - |               - |"));
}

// Files as the programs leave them.
TEST(Report, ReadsWhatTheRunsLeftAndShowsIt) {
  const std::string folder = testing::FreshFolder("report");
  const ReproducePlan plan = Plan(Scale::kPaper, folder);
  ASSERT_TRUE(MakeDirectories(folder + "/knn").ok() && MakeDirectories(folder + "/finetune").ok());
  ASSERT_TRUE(
      WriteFile(folder + "/knn/results.json", R"({"results": [{"k": 10, "top1": 1}, {"k": 20, "top1": 61.5}]})").ok());
  absl::StatusOr<std::vector<StageResult>> results = ReadResults(plan);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_THAT(*results, SizeIs(1));  // Finetuning has not ended.
  EXPECT_EQ((*results)[0].top1, 61.5);

  ASSERT_TRUE(WriteFile(folder + "/finetune/log.txt",
                        "{\"train_loss\": 3, \"test_acc1\": 70, \"epoch\": 0}\n"
                        "{\"train_loss\": 2, \"test_acc1\": 84.625, \"epoch\": 1}\n"
                        "{\"train_loss\": 1, \"test_acc1\": 84.5, \"epoch\": 2}\n")
                  .ok());
  ASSERT_TRUE(WriteFile(folder + "/finetune/checkpoint-99.pth", "").ok());
  results = ReadResults(plan);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_THAT(*results, SizeIs(2));
  EXPECT_EQ((*results)[1].top1, 84.625);  // The highest, not the last.

  const Verdict verdict = Judge(plan, *results);
  ASSERT_TRUE(WriteReport(plan, *results, verdict).ok());
  const nlohmann::json json = nlohmann::json::parse(*ReadFile(folder + "/report/results.json"));
  EXPECT_EQ(json["reproduced"], true);
  EXPECT_EQ(json["stages"].size(), plan.stages.size());
  EXPECT_EQ(json["stages"][0]["done"], false);
  EXPECT_EQ(json["stages"][3]["done"], true);
  EXPECT_THAT(*ReadFile(folder + "/report/report.md"), HasSubstr("84.62 % top-1 after finetuning, published 84.7"));
  EXPECT_THAT(*ReadFile(folder + "/report/curves.svg"), HasSubstr(">finetune</text>"));
  EXPECT_THAT(*ReadFile(folder + "/report/report.html"), HasSubstr("84.62 % top-1 after finetuning, published 84.7"));
}

// The folder alone tells how the result came about.
TEST(Report, HoldsConfigsLogsDurationsAndVersions) {
  const std::string folder = testing::FreshFolder("whole");
  const ReproducePlan plan = Plan(Scale::kMini, folder);
  ASSERT_TRUE(MakeDirectories(folder + "/seed-0/base").ok() && MakeDirectories(folder + "/logs/seed-0").ok());
  ASSERT_TRUE(WriteFile(folder + "/seed-0/base/experiment.textproto", "seed: 0").ok());
  ASSERT_TRUE(WriteFile(folder + "/seed-0/base/report.html", "its page").ok());
  ASSERT_TRUE(WriteFile(folder + "/seed-0/base/log.txt", "{\"epoch\": 0}\n").ok());
  ASSERT_TRUE(WriteFile(folder + "/logs/seed-0/base.log", "printed").ok());
  ASSERT_TRUE(AddDuration(folder, "seed-0/base", 100).ok());
  ASSERT_TRUE(AddDuration(folder, "seed-0/base", 23.5).ok());
  ASSERT_TRUE(AddDuration(folder, "seed-0/tec", 7).ok());

  const std::string bin = folder + "/bin", path = std::getenv("PATH");
  ASSERT_TRUE(MakeDirectories(bin).ok());
  ASSERT_TRUE(WriteFile(bin + "/nvidia-smi",
                        "#!/bin/sh\n[ \"$1\" = --query-gpu=name,driver_version ] || exit 1\n"
                        "echo 'NVIDIA H100 80GB HBM3, 580.95.05'\n")
                  .ok());
  ASSERT_EQ(std::system(absl::StrCat("chmod +x ", bin, "/nvidia-smi").c_str()), 0);
  ASSERT_EQ(setenv("PATH", absl::StrCat(bin, ":", path).c_str(), 1), 0);
  ASSERT_TRUE(WriteReport(plan, {}, Judge(plan, {})).ok());
  ASSERT_TRUE(WriteReport(plan, {}, Judge(plan, {})).ok());  // Over what is there.
  ASSERT_EQ(setenv("PATH", path.c_str(), 1), 0);

  EXPECT_EQ(*ReadFile(folder + "/report/configs/seed-0/base.textproto"), "seed: 0");
  EXPECT_EQ(*ReadFile(folder + "/report/logs/seed-0/base.log"), "printed");
  EXPECT_EQ(*ReadFile(folder + "/report/pages/seed-0/base.html"), "its page");
  EXPECT_THAT(*ReadFile(folder + "/report/report.html"),
              HasSubstr("<a href=\"pages/seed-0/base.html\">pages/seed-0/base.html</a>"));
  EXPECT_EQ(*ReadFile(folder + "/report/logs/seed-0/base.jsonl"), "{\"epoch\": 0}\n");
  const nlohmann::json json = nlohmann::json::parse(*ReadFile(folder + "/report/results.json"));
  EXPECT_EQ(json["stages"][0]["seconds"], 123.5);
  EXPECT_EQ(json["machine"]["gpus"], nlohmann::json({"NVIDIA H100 80GB HBM3, driver 580.95.05"}));
  EXPECT_THAT(json["machine"]["libtorch"].get<std::string>(), MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  const std::string text = *ReadFile(folder + "/report/report.md");
  EXPECT_THAT(text, HasSubstr("`seed-0/base` (seed 0, not done, 123.5 s)"));
  EXPECT_THAT(text, HasSubstr("GPUs: NVIDIA H100 80GB HBM3, driver 580.95.05; "));
}

TEST(Report, NamesTheCommitOfTheCheckout) {
  const std::string folder = testing::FreshFolder("commit"), checkout = folder + "/checkout";
  const auto git = [&checkout](const char* arguments) {
    return std::system(absl::StrCat("git -C ", checkout, " -c user.name=t -c user.email=t@t ", arguments).c_str());
  };
  ASSERT_TRUE(MakeDirectories(checkout).ok());
  ASSERT_TRUE(WriteFile(checkout + "/file", "one").ok());
  ASSERT_EQ(git("init -q"), 0);
  ASSERT_EQ(git("add file"), 0);
  ASSERT_EQ(git("commit -q -m one"), 0);
  const auto commit = [&folder] {
    const ReproducePlan plan = Plan(Scale::kPaper, folder);
    EXPECT_TRUE(WriteReport(plan, {}, Judge(plan, {})).ok());
    return nlohmann::json::parse(*ReadFile(folder + "/report/results.json"))["commit"].get<std::string>();
  };
  ASSERT_EQ(setenv("BUILD_WORKSPACE_DIRECTORY", checkout.c_str(), 1), 0);
  EXPECT_THAT(commit(), MatchesRegex("[0-9a-f]{40}"));
  ASSERT_TRUE(WriteFile(checkout + "/file", "two").ok());
  EXPECT_THAT(commit(), MatchesRegex("[0-9a-f]{40}-dirty"));
  ASSERT_EQ(unsetenv("BUILD_WORKSPACE_DIRECTORY"), 0);
  EXPECT_THAT(commit(), HasSubstr("unknown"));
}

TEST(Report, NamesAFileThatIsNoLog) {
  const std::string folder = testing::FreshFolder("no_log");
  const ReproducePlan plan = Plan(Scale::kPaper, folder);
  ASSERT_TRUE(MakeDirectories(folder + "/finetune").ok());
  ASSERT_TRUE(WriteFile(folder + "/finetune/log.txt", "hello\n").ok());
  ASSERT_TRUE(WriteFile(folder + "/finetune/checkpoint-99.pth", "").ok());
  const absl::Status status = ReadResults(plan).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder + "/finetune/log.txt is not a log"));
}

TEST(ChainTest, EndsWhenKnnRisesNoMore) {
  Stage third;
  third.seed = 1;
  third.link = 3;
  // sqrt(0.4 x 0.6 / 600) = 2.00 points.
  const auto result = [](int64_t link, double top1) {
    return StageResult{"", "stage-" + std::to_string(link), 1, ResultKind::kKnnJson, top1};
  };
  EXPECT_EQ(LeftOut(third, {result(0, 30), result(1, 37), result(2, 40)}, 600), "");
  EXPECT_EQ(LeftOut(third, {result(0, 30), result(1, 38.1), result(2, 40)}, 600),
            "kNN of stage-2, 40.00 %, is not above 38.10 % of the one before by more than its standard error 2.00");
  // Also when an earlier one has ended the chain, and not before there is a result.
  EXPECT_NE(LeftOut(third, {result(0, 39), result(1, 40)}, 600), "");
  EXPECT_EQ(LeftOut(third, {result(0, 39)}, 600), "");
  Stage first;
  first.seed = 1;
  first.link = 1;
  EXPECT_EQ(LeftOut(first, {result(0, 39)}, 600), "");
}

}  // namespace
}  // namespace tec
