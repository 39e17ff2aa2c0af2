// The program from command line to table, and what it says to bad input.

#include <filesystem>
#include <string>

#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

class KnnProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("knn");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 8, 1);
    // No "ant": the held-out folder numbers its classes by itself.
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 4, 2);
    std::filesystem::remove_all(folder_ + "/data/val/ant");
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
  }

  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("eval/knn/knn", "--device=cpu --num_workers=1 --threads=1 " + arguments);
  }

  static std::string folder_;
};

std::string KnnProgramTest::folder_;

TEST_F(KnnProgramTest, PrintsATableAndWritesResults) {
  const std::string out = folder_ + "/out";
  for (const std::string checkpoint : {"tec", "mae"}) {
    const ProgramResult result = Run("--checkpoint=" + folder_ + "/" + checkpoint + ".pth --data_path=" + folder_ +
                                     "/data --k=1,5,100 --features=pool --batch_size=5 --output_dir=" + out);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_NE(result.output.find("24 training images, 8 held-out images, 3 classes"), std::string::npos)
        << result.output;
    EXPECT_NE(result.output.find("k is larger than the bank: all 24 voted"), std::string::npos) << result.output;
    absl::StatusOr<std::string> text = ReadFile(out + "/results.json");
    ASSERT_TRUE(text.ok()) << text.status();
    const nlohmann::json json = nlohmann::json::parse(*text);
    ASSERT_EQ(json.at("results").size(), 3);
    EXPECT_EQ(json.at("results")[2].at("neighbours"), 24);
    EXPECT_EQ(json.at("test_images"), 8);
    // Stripes of different directions: even an untrained encoder keeps them apart. By the folder's own numbers, "bee"
    // would be compared with "ant" and nothing would be right.
    EXPECT_GE(json.at("results")[0].at("top1").get<double>(), 75) << checkpoint;
    // One neighbour has all votes: where it is another class's, the held-out image's own class has none.
    for (const auto& one : json.at("results")) {
      const auto& accuracy = one.at("accuracy");
      EXPECT_EQ(accuracy.at("images"), 8);
      EXPECT_EQ(accuracy.at("top1"), one.at("top1"));
      EXPECT_TRUE(accuracy.at("per_class_top1")[0].is_null());
      int64_t images = 0, right = 0;
      for (size_t label = 0; label < 3; ++label) {
        for (const auto& count : accuracy.at("confusion")[label]) images += count.get<int64_t>();
        right += accuracy.at("confusion")[label][label].get<int64_t>();
      }
      EXPECT_EQ(images, 8);
      EXPECT_EQ(right * 12.5, one.at("top1").get<double>());
    }
    const auto& nearest = json.at("results")[0].at("accuracy");
    EXPECT_NEAR(nearest.at("calibration_error").get<double>(), 1 - nearest.at("top1").get<double>() / 100, 1e-9);
    EXPECT_EQ(nearest.at("loss").is_null(), nearest.at("top1") != 100);
    EXPECT_NE(result.output.find("k = 5: top-1 "), std::string::npos) << result.output;
    EXPECT_NE(result.output.find("1 of 3 classes have no held-out images"), std::string::npos) << result.output;
  }
}

TEST_F(KnnProgramTest, ChosenClasses) {
  const ProgramResult result = Run("--checkpoint=" + folder_ + "/tec.pth --data_path=" + folder_ +
                                   "/data --k=1 --features=pool --classes=cat,bee");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("16 training images, 8 held-out images, 2 classes"), std::string::npos) << result.output;
}

TEST_F(KnnProgramTest, BadInputEndsWithOneLine) {
  const std::string checkpoint = "--checkpoint=" + folder_ + "/tec.pth ", data = "--data_path=" + folder_ + "/data ";
  testing::WritePictures(folder_ + "/other/train", {"ant"}, 1, 1);
  testing::WritePictures(folder_ + "/other/val", {"gnu"}, 1, 1);
  struct Case {
    std::string arguments, message;
  };
  for (const Case& one : {
           Case{data, "--checkpoint is needed"},
           Case{checkpoint, "--data_path is needed"},
           Case{checkpoint + data + "--k=10,x", "\"x\" is not a whole number from 1"},
           Case{checkpoint + data + "--features=mean", "--features: unknown features \"mean\""},
           Case{checkpoint + data + "--temperature=0", "temperature is 0"},
           Case{checkpoint + data + "--kk=3", "kk"},
           Case{data + "--checkpoint=/nowhere.pth", "/nowhere.pth"},
           Case{checkpoint + "--data_path=/nowhere", "/nowhere"},
           Case{checkpoint + "--data_path=" + folder_ + "/other",
                "1 of the 1 held-out classes is not among the 1 training classes: gnu"},
           Case{data + "--checkpoint=" + folder_ + "/data/train/ant/0.png", "0.png"},
           Case{checkpoint + data + "--device=tpu", "--device=tpu"},
           Case{checkpoint + data + "--classes=gnu", "not among the 3 classes (ant to cat): \"gnu\""},
       }) {
    const ProgramResult result = Run(one.arguments);
    EXPECT_EQ(result.exit_code, 1) << one.arguments << "\n" << result.output;
    EXPECT_NE(result.output.find(one.message), std::string::npos) << one.arguments << "\n" << result.output;
  }
}

}  // namespace
}  // namespace tec
