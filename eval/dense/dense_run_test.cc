// Training a dense head: it learns, being stopped changes nothing, and its results say what the head does.

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "data/pictures/made_pictures.h"
#include "eval/dense/run_dense.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

class DenseRunTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("dense_run");
    PictureOptions options;
    options.train_images = 24;
    options.test_images = 12;
    options.size = 24;
    ASSERT_TRUE(WriteMaskedPictures(options, folder_ + "/data").ok());
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
  }

  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram(
        "eval/dense/dense",
        "--protocol=pixio --device=cpu --num_workers=1 --threads=1 --data_path=" + folder_ + "/data " + arguments);
  }

  static DenseRunOptions Small(const std::string& name) {
    DenseRunOptions options;
    options.frozen.checkpoint = folder_ + "/tec.pth";
    options.frozen.data_path = folder_ + "/data";
    options.frozen.output_dir = folder_ + "/" + name;
    options.frozen.device = "cpu";
    options.frozen.threads = 1;
    options.batch_size = 5;
    options.accum_iter = 2;
    options.epochs = 2;
    options.lr = 0.01;
    options.pictures = 2;
    options.quiet = true;
    return options;
  }

  static std::string Read(const std::string& path) {
    const absl::StatusOr<std::string> text = ReadFile(path);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? *text : "";
  }

  static std::string folder_;
};

std::string DenseRunTest::folder_;

TEST_F(DenseRunTest, LearnsToTellShapesFromTheGround) {
  const std::string out = folder_ + "/out", checkpoint = "--checkpoint=" + folder_ + "/tec.pth ";
  const ProgramResult result =
      Run(checkpoint + "--batch_size=8 --epochs=12 --lr=0.02 --pictures=3 --output_dir=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("24 training and 12 held-out pictures, 13 classes"), std::string::npos) << result.output;
  std::vector<nlohmann::json> log;
  for (absl::string_view line : absl::StrSplit(Read(out + "/log.txt"), '\n', absl::SkipEmpty())) {
    log.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(log.size(), 12u);
  EXPECT_LT(log[11].at("train_loss").get<double>(), 0.7 * log[0].at("train_loss").get<double>());
  const nlohmann::json json = nlohmann::json::parse(Read(out + "/results.json"));
  EXPECT_EQ(json.at("segmentation"), "pixio");
  EXPECT_GT(json.at("linear").at("iou").at("0 background").get<double>(), 60) << result.output;
  // Of the best epoch, over all 13 classes.
  EXPECT_EQ(json.at("linear").at("miou"), log[11].at("max_miou"));
  double sum = 0;
  for (const auto& [name, iou] : json.at("linear").at("iou").items()) sum += iou.get<double>();
  EXPECT_NEAR(json.at("linear").at("miou").get<double>(), sum / 13, 1e-9);
  EXPECT_EQ(json.at("linear").at("pixels"), 12 * 24 * 24);
  EXPECT_EQ(json.at("pictures").at("files").size(), 3);
  EXPECT_TRUE(ReadFile(out + "/pictures/00004.png").ok());

  // The best head alone gives the same again.
  ASSERT_EQ(Run(checkpoint + "--eval --pictures=3 --output_dir=" + out).exit_code, 0);
  EXPECT_EQ(nlohmann::json::parse(Read(out + "/results.json")), json);
  const ProgramResult other = Run("--checkpoint=" + folder_ + "/mae.pth --eval --output_dir=" + out);
  EXPECT_EQ(other.exit_code, 1) << other.output;
  EXPECT_NE(other.output.find("was trained on another encoder"), std::string::npos) << other.output;
}

TEST_F(DenseRunTest, BeingStoppedAnywhereChangesNothing) {
  const absl::StatusOr<DenseRunResult> whole = RunDense(Small("whole"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->updates, 4);
  for (int64_t stop = 1; stop <= 4; ++stop) {
    DenseRunOptions options = Small("stopped" + std::to_string(stop));
    options.stop_after_update = [stop](int64_t updates) { return updates == stop; };
    const absl::StatusOr<DenseRunResult> first = RunDense(options);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_TRUE(first->stopped);
    options.stop_after_update = nullptr;
    const absl::StatusOr<DenseRunResult> rest = RunDense(options);
    ASSERT_TRUE(rest.ok()) << rest.status();
    EXPECT_EQ(rest->max_miou, whole->max_miou);
    for (const char* name : {"/this_checkpoint.pth", "/best_checkpoint.pth"}) {
      EXPECT_EQ(Read(options.frozen.output_dir + name), Read(folder_ + "/whole" + name)) << stop << name;
    }
  }
  DenseRunOptions changed = Small("whole");
  changed.lr = 0.02;
  const absl::Status status = RunDense(changed).status();
  EXPECT_NE(std::string(status.message()).find("lr: "), std::string::npos) << status;
}

TEST_F(DenseRunTest, SaysWhatIsWrong) {
  const auto says = [](const ProgramResult& result, const std::string& text) {
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find(text), std::string::npos) << result.output;
  };
  const std::string inputs = "--checkpoint=" + folder_ + "/tec.pth --output_dir=" + folder_ + "/wrong ";
  says(Run(inputs + "--batch_size=25"), "batch");
  says(Run(inputs + "--nb_classes=300"), "--nb_classes must be from 1 to 256");
  says(Run(inputs + "--lr=-1"), "--lr=-1");
  says(Run(inputs + "--protocol=dino"), "--protocol=dino: it must be capi or pixio");
  // Masks that have more classes than were said: every picture of those is unreadable.
  const ProgramResult few = Run(inputs + "--nb_classes=5 --batch_size=8");
  EXPECT_NE(few.exit_code, 0);
  EXPECT_NE(few.output.find("which is no class: those are 0 to 4"), std::string::npos) << few.output;
}

}  // namespace
}  // namespace tec
