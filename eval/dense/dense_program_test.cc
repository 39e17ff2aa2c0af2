// The program from command line to results, on pictures whose masks are known. tools/consumers/dense_test.py compares
// its numbers with scikit-learn's.

#include <filesystem>
#include <string>

#include "data/pictures/made_pictures.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

class DenseProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("dense");
    PictureOptions options;
    options.train_images = 48;
    options.test_images = 24;
    options.size = 64;
    ASSERT_TRUE(WriteMaskedPictures(options, folder_ + "/data").ok());
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
  }

  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("eval/dense/dense", "--device=cpu --num_workers=1 --threads=1 --checkpoint=" + folder_ +
                                                       "/tec.pth --data_path=" + folder_ + "/data " + arguments);
  }

  static nlohmann::json Results(const std::string& folder) {
    const absl::StatusOr<std::string> text = ReadFile(folder + "/results.json");
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? nlohmann::json::parse(*text) : nlohmann::json();
  }

  static std::string folder_;
};

std::string DenseProgramTest::folder_;

TEST_F(DenseProgramTest, TellsShapesFromTheGround) {
  const std::string out = folder_ + "/out";
  const std::string flags = "--report --max_iterations=200 --c=0.01,1 --pictures=3 --output_dir=" + out;
  const ProgramResult result = Run(flags);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("layout folders, 48 training pictures, 24 held-out pictures; ignored: 255"),
            std::string::npos)
      << result.output;
  const nlohmann::json json = Results(out);
  EXPECT_EQ(json.at("segmentation"), "capi");
  EXPECT_EQ(json.at("validation_images").size(), 4);
  EXPECT_EQ(json.at("knn").at("choices").size(), 8);
  EXPECT_EQ(json.at("logistic").at("choices").size(), 2);
  // Of all pixels at the encoder's 16 pixels, each once.
  for (const char* classifier : {"knn", "logistic"}) {
    const auto& of = json.at(classifier);
    EXPECT_EQ(of.at("pixels"), 24 * 16 * 16);
    int64_t pixels = 0;
    for (const auto& row : of.at("confusion")) {
      for (const auto& count : row) pixels += count.get<int64_t>();
    }
    EXPECT_EQ(pixels, 24 * 16 * 16);
    // Shapes are brighter than the ground: an untrained encoder tells them from it, though not from each other.
    EXPECT_GT(of.at("iou").at("0 background").get<double>(), 60) << result.output;
  }
  EXPECT_EQ(json.at("pictures").at("files").size(), 3);
  EXPECT_EQ(json.at("pictures").at("panels").size(), 4);
  EXPECT_TRUE(ReadFile(out + "/pictures/00008.png").ok());

  // Its page shows them.
  EXPECT_NE(result.output.find("report: " + out + "/report.html\n"), std::string::npos) << result.output;
  const std::string page = *ReadFile(out + "/report.html");
  for (const char* part : {"<h2>Segmentation</h2>", "IoU of logistic", "data:image/png;base64,"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }

  // Again: the fits are taken from the folder, and nothing differs.
  const std::string before = *ReadFile(out + "/results.json");
  ASSERT_EQ(Run(flags).exit_code, 0);
  EXPECT_EQ(*ReadFile(out + "/results.json"), before);
}

TEST_F(DenseProgramTest, ALinearHeadHasAPage) {
  const std::string out = folder_ + "/head", flags = "--report --protocol=pixio --epochs=1 --output_dir=";
  const ProgramResult result = Run(flags + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("report: " + out + "/report.html\n"), std::string::npos) << result.output;
  const std::string page = *ReadFile(out + "/report.html");
  for (const char* part : {"Mean IoU and accuracy of pixels, percent, over epochs", "<h2>Segmentation</h2>",
                           "data:image/png;base64,", "best_checkpoint.pth"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  ASSERT_EQ(Run(flags + folder_ + "/silent --noreport").exit_code, 0);
  EXPECT_FALSE(ReadFile(folder_ + "/silent/report.html").ok());
  EXPECT_TRUE(ReadFile(folder_ + "/silent/results.json").ok());
}

// A mask of one class everywhere: every prediction is right, by both.
TEST_F(DenseProgramTest, IsRightWhereThereIsOneClass) {
  const std::string out = folder_ + "/one";
  const ProgramResult result = Run("--ignore=1,2,3,4,5,6,7,8,9,10,11,12 --c=1 --max_iterations=50 --output_dir=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const nlohmann::json json = Results(out);
  EXPECT_EQ(json.at("logistic").at("miou"), 100);
  EXPECT_EQ(json.at("logistic").at("classes"), std::vector<int>{0});
  EXPECT_LT(json.at("logistic").at("pixels").get<int64_t>(), 24 * 16 * 16);
}

TEST_F(DenseProgramTest, SaysWhatIsWrong) {
  const auto says = [](const ProgramResult& result, const std::string& text) {
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find(text), std::string::npos) << result.output;
  };
  says(Run("--layout=coco"), "--layout=coco: it must be auto, voc, ade20k or folders");
  says(Run("--classifiers=svm"), "it must be knn, logistic or both");
  says(Run("--ignore=256"), "\"256\" is not a whole number from 0 to 255");
  says(Run("--k=0"), "--k=0");
  says(Run("--ignore=0,1,2,3,4,5,6,7,8,9,10,11,12"), "no training patch has a class");
  says(Run("--data_path=" + folder_ + "/nowhere"), "none of images/train");
  // A mask in colours is named.
  const std::string colours = folder_ + "/colours";
  std::filesystem::copy(folder_ + "/data", colours, std::filesystem::copy_options::recursive);
  ASSERT_TRUE(WriteFile(colours + "/masks/train/00003.png", *ReadFile(colours + "/images/train/00003.jpg")).ok());
  says(Run("--data_path=" + colours), colours + "/masks/train/00003.png: a mask must be a PNG");
}

}  // namespace
}  // namespace tec
