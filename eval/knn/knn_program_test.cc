// The program from command line to table, and what it says to bad input.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "eval/testing/readable_subset.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/run/folder_lock.h"

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

TEST_F(KnnProgramTest, TwoDoNotWriteIntoOneFolder) {
  const std::string out = folder_ + "/held";
  const auto lock = FolderLock::Take(out);
  ASSERT_TRUE(lock.ok()) << lock.status();
  const ProgramResult result = Run("--checkpoint=" + folder_ + "/tec.pth --data_path=" + folder_ +
                                   "/data --k=1 --features=pool --output_dir=" + out);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.output.find("another run writes into " + out + ": process "), std::string::npos) << result.output;
  EXPECT_FALSE(ReadFile(out + "/results.json").ok());
}

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

TEST_F(KnnProgramTest, NamesOfAnyBytes) {
  // As old archives leave names: Latin-1. Of a path, too.
  const std::string data = folder_ + "/d\xE9j\xE0";
  testing::WritePictures(data + "/train", {"caf\xE9", "caf\xE8\x1b[31m"}, 3, 1);
  testing::WritePictures(data + "/val", {"caf\xE9", "caf\xE8\x1b[31m"}, 2, 2);
  const ProgramResult result = Run("--checkpoint=" + folder_ + "/mae.pth --data_path=" + data +
                                   " --k=1 --features=pool --num_workers=0 --output_dir=" + folder_ + "/odd");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output.find_first_of("\x1b\xE9"), std::string::npos) << result.output;
  const absl::StatusOr<std::string> text = ReadFile(folder_ + "/odd/results.json");
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json json = nlohmann::json::parse(*text);
  EXPECT_EQ(json.at("classes"), nlohmann::json({"caf\\xe8\x1b[31m", "caf\\xe9"}));
  EXPECT_NE(json.at("data_path").get<std::string>().find("/d\\xe9j\\xe0"), std::string::npos);
}

TEST_F(KnnProgramTest, ChosenClasses) {
  const ProgramResult result = Run("--checkpoint=" + folder_ + "/tec.pth --data_path=" + folder_ +
                                   "/data --k=1 --features=pool --classes=cat,bee");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("16 training images, 8 held-out images, 2 classes"), std::string::npos) << result.output;
}

// The images that --shots chooses are those of --subset_seed, 0 unless given, whatever --seed: only they can be read.
TEST_F(KnnProgramTest, ShotsAreThoseOfTheSubsetSeed) {
  testing::WritePictures(folder_ + "/few/val", {"ant", "bee"}, 2, 2);
  testing::WriteReadableSubset(folder_ + "/few/train", {"ant", "bee"}, 8, /*shots=*/2, /*subset_seed=*/0);
  const std::string arguments = "--checkpoint=" + folder_ + "/tec.pth --data_path=" + folder_ +
                                "/few --k=1 --shots=2 --max_bad_fraction=0 --seed=3";
  const ProgramResult chosen = Run(arguments);
  EXPECT_EQ(chosen.exit_code, 0) << chosen.output;
  EXPECT_NE(chosen.output.find("4 training images"), std::string::npos) << chosen.output;
  EXPECT_EQ(Run(arguments + " --subset_seed=1").exit_code, 2);
}

// Stored features are those of these very files: another split, folder or picture under the same name has its own.
TEST_F(KnnProgramTest, StoredFeaturesAreTheFiles) {
  for (const std::string& data : {folder_ + "/wrong", folder_ + "/right"}) {
    // Equal names in all four folders. In one of them what is called "ant" looks like a "bee", and the reverse.
    std::vector<std::string> classes = {"ant", "bee", "cat"};
    testing::WritePictures(data + "/val", classes, 4, 2);
    if (data == folder_ + "/wrong") std::swap(classes[0], classes[1]);
    testing::WritePictures(data + "/train", classes, 4, 1);
  }
  const auto top1 = [&](const std::string& data, const std::string& cache) -> double {
    const std::string out = testing::FreshFolder("knn_names");
    const ProgramResult result =
        Run("--checkpoint=" + folder_ + "/tec.pth --features=pool --data_path=" + folder_ + data +
            " --k=1 --batch_size=4 --output_dir=" + out + (cache.empty() ? "" : " --feature_cache=" + cache));
    EXPECT_EQ(result.exit_code, 0) << result.output;
    absl::StatusOr<std::string> text = ReadFile(out + "/results.json");
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? nlohmann::json::parse(*text).at("results")[0].at("top1").get<double>() : -1;
  };
  const std::string cache = folder_ + "/cache";
  const double wrong = top1("/wrong", ""), right = top1("/right", "");
  EXPECT_LE(wrong, 50);
  EXPECT_GE(right, 75);
  for (int run = 0; run < 2; ++run) {
    EXPECT_EQ(top1("/wrong", cache), wrong);
    EXPECT_EQ(top1("/right", cache), right);
  }
  // The pictures of "ant" and "bee" change places.
  const std::string train = folder_ + "/wrong/train";
  std::filesystem::rename(train + "/ant", train + "/other");
  std::filesystem::rename(train + "/bee", train + "/ant");
  std::filesystem::rename(train + "/other", train + "/bee");
  EXPECT_EQ(top1("/wrong", cache), right);
}

TEST_F(KnnProgramTest, GoesOnWhereItWasStopped) {
  // A batch an image: more work than the signal takes to arrive.
  testing::WritePictures(folder_ + "/many/train", {"ant", "bee", "cat"}, 100, 1);
  testing::WritePictures(folder_ + "/many/val", {"ant", "bee", "cat"}, 100, 2);
  const std::string arguments =
      "--device=cpu --num_workers=1 --threads=1 --batch_size=1 --k=5 --checkpoint=" + folder_ +
      "/tec.pth --data_path=" + folder_ + "/many ";
  const std::string out = folder_ + "/stopped";
  const ProgramResult stopped = testing::StopProgram("eval/knn/knn", arguments + "--output_dir=" + out);
  EXPECT_EQ(stopped.exit_code, 3) << stopped.output;
  EXPECT_NE(stopped.output.find("the same command goes on from there"), std::string::npos) << stopped.output;
  EXPECT_FALSE(std::filesystem::exists(out + "/results.json"));
  const ProgramResult more = testing::RunProgram("eval/knn/knn", arguments + "--output_dir=" + out);
  ASSERT_EQ(more.exit_code, 0) << more.output;
  const ProgramResult whole = testing::RunProgram("eval/knn/knn", arguments + "--output_dir=" + folder_ + "/whole");
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  EXPECT_EQ(*ReadFile(out + "/results.json"), *ReadFile(folder_ + "/whole/results.json"));
  // Once more: nothing is encoded.
  const ProgramResult again = testing::RunProgram("eval/knn/knn", arguments + "--output_dir=" + out);
  EXPECT_NE(again.output.find("features of the held-out images: 300 of 300 from " + out + "/features/"),
            std::string::npos)
      << again.output;
  EXPECT_EQ(*ReadFile(out + "/results.json"), *ReadFile(folder_ + "/whole/results.json"));

  const ProgramResult nowhere = testing::StopProgram("eval/knn/knn", arguments);
  EXPECT_EQ(nowhere.exit_code, 3) << nowhere.output;
  EXPECT_NE(nowhere.output.find("without --output_dir or --feature_cache nothing is kept"), std::string::npos)
      << nowhere.output;
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
