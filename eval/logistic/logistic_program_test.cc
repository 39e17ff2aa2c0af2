// The program from command line to table, the split that chooses C, and what is said to bad input.

#include <filesystem>
#include <string>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/logistic/validation_split.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

TEST(ValidationSplitTest, PutsAPartOfEachClassAside) {
  // 20 of class 0, 2 of class 1, 1 of class 3; none of class 2.
  const at::Tensor labels =
      at::cat({at::zeros({20}, at::kLong), at::ones({2}, at::kLong), at::full({1}, 3, at::kLong)});
  const absl::StatusOr<ValidationSplit> split = SplitForValidation(labels, 4, 0.1, 7);
  ASSERT_TRUE(split.ok()) << split.status();
  const at::Tensor counts = labels.index_select(0, split->validation).bincount({}, 4);
  EXPECT_TRUE(at::equal(counts, at::tensor(std::vector<int64_t>{2, 1, 0, 0}, at::kLong))) << counts;
  const at::Tensor all = std::get<0>(at::cat({split->fitted, split->validation}).sort());
  EXPECT_TRUE(at::equal(all, at::arange(23, at::kLong)));
  EXPECT_FALSE(at::equal(split->validation, SplitForValidation(labels, 4, 0.1, 8)->validation));
  EXPECT_FALSE(SplitForValidation(at::arange(4, at::kLong), 4, 0.1, 7).ok());
}

class LogisticProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("logistic");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 10, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 4, 2);
    std::filesystem::remove_all(folder_ + "/data/val/ant");
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
  }

  static std::string Common() {
    return absl::StrCat("--device=cpu --num_workers=1 --threads=1 --data_path=", folder_, "/data ");
  }
  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("eval/logistic/logistic", Common() + arguments);
  }

  static std::string folder_;
};

std::string LogisticProgramTest::folder_;

TEST_F(LogisticProgramTest, ChoosesCAndReports) {
  const std::string out = folder_ + "/out";
  for (const std::string more : {"", "--normalise --features=cls+pool --c=100,1,10"}) {
    const ProgramResult result = Run("--checkpoint=" + folder_ + "/tec.pth --output_dir=" + out + " " + more);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_NE(result.output.find("on 3 of the training images, fitted to the other 27"), std::string::npos)
        << result.output;
    absl::StatusOr<std::string> text = ReadFile(out + "/results.json");
    ASSERT_TRUE(text.ok()) << text.status();
    const nlohmann::json json = nlohmann::json::parse(*text);
    EXPECT_EQ(json.at("choices").size(), more.empty() ? 7u : 3u);
    // Stripes of different directions, which even an untrained encoder keeps apart.
    EXPECT_GE(json.at("accuracy").at("top1").get<double>(), 75) << result.output;
    EXPECT_EQ(json.at("accuracy").at("top5"), 100);
    EXPECT_TRUE(json.at("accuracy").at("per_class_top1")[0].is_null());
    EXPECT_EQ(json.at("test_images"), 8);
    // The chosen C is among the best of the grid, and the smallest of those.
    double best = -1, chosen = -1;
    for (const nlohmann::json& one : json.at("choices")) best = std::max(best, one.at("top1").get<double>());
    for (const nlohmann::json& one : json.at("choices")) {
      if (one.at("c") == json.at("c")) chosen = one.at("top1");
      if (one.at("top1") == best) {
        EXPECT_LE(json.at("c").get<double>(), one.at("c").get<double>());
      }
    }
    EXPECT_EQ(chosen, best);
  }
}

TEST_F(LogisticProgramTest, GoesOnWhereItWasStopped) {
  testing::WritePictures(folder_ + "/many/train", {"ant", "bee", "cat"}, 100, 1);
  testing::WritePictures(folder_ + "/many/val", {"ant", "bee", "cat"}, 100, 2);
  const std::string arguments =
      absl::StrCat("--device=cpu --num_workers=1 --threads=1 --batch_size=1 --c=1 --checkpoint=", folder_,
                   "/tec.pth --data_path=", folder_, "/many --output_dir=", folder_);
  const ProgramResult stopped = testing::StopProgram("eval/logistic/logistic", arguments + "/stopped");
  EXPECT_EQ(stopped.exit_code, 3) << stopped.output;
  EXPECT_NE(stopped.output.find("the same command goes on from there"), std::string::npos) << stopped.output;
  for (const char* out : {"/stopped", "/whole"}) {
    const ProgramResult result = testing::RunProgram("eval/logistic/logistic", arguments + out);
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  EXPECT_EQ(*ReadFile(folder_ + "/stopped/results.json"), *ReadFile(folder_ + "/whole/results.json"));
}

TEST_F(LogisticProgramTest, GoesOnWithTheNextC) {
  // No gradient is that small: each fit takes all its iterations, a few tenths of a second.
  const std::string arguments =
      absl::StrCat("--c=1e-3,1,1e3 --tolerance=1e-300 --max_iterations=500 --checkpoint=", folder_,
                   "/tec.pth --output_dir=", folder_);
  const auto taken = [](const std::string& output) {
    int lines = 0;
    for (const absl::string_view line : absl::StrSplit(output, '\n')) {
      lines += absl::EndsWith(line, "taken from the run before") ? 1 : 0;
    }
    return lines;
  };
  const auto results = [](const std::string& out) { return *ReadFile(folder_ + out + "/results.json"); };
  const ProgramResult stopped =
      testing::StopProgram("eval/logistic/logistic", Common() + arguments + "/next",
                           absl::StrCat("ls ", folder_, "/next/fits/*.safetensors >/dev/null 2>&1"));
  EXPECT_EQ(stopped.exit_code, 3) << stopped.output;
  EXPECT_NE(stopped.output.find("stopped while fitting with C = "), std::string::npos) << stopped.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/next/results.json"));
  const ProgramResult whole = Run(arguments + "/uninterrupted"), next = Run(arguments + "/next");
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  ASSERT_EQ(next.exit_code, 0) << next.output;
  EXPECT_EQ(taken(whole.output), 0) << whole.output;
  EXPECT_GE(taken(next.output), 1) << next.output;
  EXPECT_LE(taken(next.output), 3) << next.output;
  EXPECT_EQ(results("/next"), results("/uninterrupted"));

  // Once more all are there. Of other settings, or another part to choose by, none is taken but the last fit.
  EXPECT_EQ(taken(Run(arguments + "/next").output), 4);
  EXPECT_EQ(taken(Run(arguments + "/next --tolerance=1e-2").output), 0);
  EXPECT_EQ(taken(Run(arguments + "/next --seed=1").output), 1);
}

TEST_F(LogisticProgramTest, OneCAndOneShot) {
  const ProgramResult result = Run("--checkpoint=" + folder_ + "/tec.pth --shots=1 --c=1");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("3 training images"), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find("fitted to the other"), std::string::npos) << result.output;
}

TEST_F(LogisticProgramTest, BadInputEndsWithOneLine) {
  const std::string checkpoint = "--checkpoint=" + folder_ + "/tec.pth ";
  struct Case {
    std::string arguments, message;
  };
  for (const Case& one : {
           Case{"", "--checkpoint is needed"},
           Case{checkpoint + "--c=1,-1", "\"-1\" is not a number above 0"},
           Case{checkpoint + "--features=mean", "--features: unknown features"},
           Case{checkpoint + "--validation_fraction=1", "--validation_fraction must be between 0 and 1"},
           Case{checkpoint + "--shots=1", "no class has two training images"},
           Case{checkpoint + "--shots=1 --train_fraction=0.5", "not both"},
           Case{checkpoint + "--precision=float16", "--precision=float16"},
       }) {
    const ProgramResult result = Run(one.arguments);
    EXPECT_EQ(result.exit_code, 1) << one.arguments << "\n" << result.output;
    EXPECT_NE(result.output.find(one.message), std::string::npos) << one.arguments << "\n" << result.output;
  }
}

}  // namespace
}  // namespace tec
