// The program on the forms of data sets, with a model that finetuning made.

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

class PredictProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("predict");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 8, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 3, 2);
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    finetuned_ = testing::RunProgram(
        "eval/finetune/finetune",
        absl::StrCat("--device=cpu --precision=float32 --threads=1 --num_workers=1 --data_path=", folder_,
                     "/data --batch_size=4 --warmup_epochs=0 --lr=3e-3 --layer_decay=0.9 --aa= --reprob=0 --epochs=12 "
                     "--drop_path=0 --finetune=",
                     folder_, "/tec.pth --output_dir=", folder_, "/finetuned"));
  }

  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("eval/predict/predict",
                               absl::StrCat("--device=cpu --threads=1 --num_workers=1 --batch_size=4 ", arguments));
  }
  static std::string Best() { return folder_ + "/finetuned/best_checkpoint.pth"; }

  // By image, the object of each line.
  static std::map<std::string, nlohmann::json> Lines(const std::string& path) {
    std::map<std::string, nlohmann::json> lines;
    absl::StatusOr<std::string> text = ReadFile(path);
    EXPECT_TRUE(text.ok()) << text.status();
    if (!text.ok()) return lines;
    for (const auto& line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
      nlohmann::json json = nlohmann::json::parse(std::string(line));
      lines[json.at("image").get<std::string>()] = json;
    }
    return lines;
  }

  static std::string folder_;
  static ProgramResult finetuned_;
};

std::string PredictProgramTest::folder_;
ProgramResult PredictProgramTest::finetuned_;

TEST_F(PredictProgramTest, NamesTheClassAsTheEvaluationDoes) {
  ASSERT_EQ(finetuned_.exit_code, 0) << finetuned_.output;
  const std::string out = folder_ + "/val.jsonl";
  const ProgramResult result =
      Run("--checkpoint=" + Best() + " --data_path=" + folder_ + "/data/val --top=2 --output=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("9 images written to " + out), std::string::npos) << result.output;
  const auto lines = Lines(out);
  ASSERT_EQ(lines.size(), 9);
  int right = 0;
  for (const auto& [image, line] : lines) {
    right += line.at("class") == image.substr(0, 3);
    ASSERT_EQ(line.at("top").size(), 2);
    EXPECT_EQ(line.at("top")[0].at("class"), line.at("class"));
    EXPECT_GE(line.at("top")[0].at("probability"), line.at("top")[1].at("probability"));
    EXPECT_GT(line.at("probability").get<double>(), 1.0 / 3 - 1e-6);
    EXPECT_LE(line.at("probability").get<double>(), 1);
  }
  // The accuracy that finetuning reported for this very state, to its last digit: 9 images.
  EXPECT_NE(finetuned_.output.find(absl::StrFormat("Max accuracy: %.2f%%", 100.0 * right / 9)), std::string::npos)
      << right << " of 9\n"
      << finetuned_.output;
  EXPECT_GE(right, 6);
}

TEST_F(PredictProgramTest, EveryFormOfADataSetGivesTheSame) {
  const std::string flat = folder_ + "/flat";
  testing::WritePictures(flat + "/deep/er", {"bee"}, 3, 2);
  ASSERT_TRUE(
      WriteFile(folder_ + "/list.txt", "flat/deep/er/bee/0.png\nflat/deep/er/bee/1.png\nflat/deep/er/bee/2.png\n")
          .ok());
  ASSERT_EQ(std::system(("tar -C " + flat + "/deep/er/bee -cf " + folder_ + "/shard.tar 0.png 1.png 2.png").c_str()),
            0);
  const ProgramResult packed =
      testing::RunProgram("tools/shard/shard", "--nolabels --split=whole --data_path=" + flat +
                                                   "/deep --output=" + folder_ + "/packed.tecpack");
  ASSERT_EQ(packed.exit_code, 0) << packed.output;
  std::vector<double> expected;
  for (const std::string form : {"flat", "list.txt", "shard.tar", "packed.tecpack"}) {
    const std::string out = folder_ + "/form.jsonl";
    const ProgramResult result =
        Run("--checkpoint=" + Best() + " --data_path=" + folder_ + "/" + form + " --output=" + out);
    ASSERT_EQ(result.exit_code, 0) << form << ": " << result.output;
    std::vector<double> probabilities;
    for (const auto& [image, line] : Lines(out)) probabilities.push_back(line.at("probability"));
    ASSERT_EQ(probabilities.size(), 3) << form;
    if (expected.empty()) expected = probabilities;
    EXPECT_EQ(probabilities, expected) << form;
  }
}

TEST_F(PredictProgramTest, SaysWhatCannotBeRead) {
  const std::string folder = folder_ + "/damaged";
  testing::WritePictures(folder, {"ant"}, 2, 5);
  ASSERT_TRUE(WriteFile(folder + "/ant/broken.jpg", "no picture").ok());
  const std::string out = folder_ + "/damaged.csv";
  const ProgramResult result = Run("--checkpoint=" + Best() + " --data_path=" + folder + " --output=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("1 of them could not be read"), std::string::npos) << result.output;
  const absl::StatusOr<std::string> text = ReadFile(out);
  ASSERT_TRUE(text.ok()) << text.status();
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 4);
  EXPECT_EQ(lines[0], "image,class,probability,error");
  EXPECT_EQ(lines[3].substr(0, 18), "ant/broken.jpg,,,n") << lines[3];
}

TEST_F(PredictProgramTest, RefusesWhatIsNoClassifierAndWrongNames) {
  const std::string data = " --data_path=" + folder_ + "/data/val --output=" + folder_ + "/no.csv";
  ProgramResult result = Run("--checkpoint=" + folder_ + "/tec.pth" + data);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.output.find("has no classifier"), std::string::npos) << result.output;
  ASSERT_TRUE(WriteFile(folder_ + "/names.txt", "one\ntwo\n").ok());
  result = Run("--checkpoint=" + Best() + data + " --class_names=" + folder_ + "/names.txt");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.output.find("has 2 lines, the model has 3 classes"), std::string::npos) << result.output;
  result = Run("--checkpoint=" + Best() + data + " --top=0");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/no.csv"));
}

}  // namespace
}  // namespace tec
