// The program from command line to table: protocols, resuming, stored features, and what it says to bad input.

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/linear/run_linear.h"
#include "eval/testing/operation_counter.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

using file_operations::Operation;
using testing::ProgramResult;

std::string Read(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

std::vector<nlohmann::json> Log(const std::string& folder) {
  std::vector<nlohmann::json> lines;
  std::istringstream stream(Read(folder + "/log.txt"));
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// Without what the clock decides.
std::vector<nlohmann::json> LogButTimes(const std::string& folder) {
  std::vector<nlohmann::json> lines = Log(folder);
  for (nlohmann::json& line : lines) {
    for (const char* key : {"images_per_second", "seconds", "data_wait_seconds"}) line.erase(key);
  }
  return lines;
}

class LinearProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("linear");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 10, 1);
    // No "ant": the held-out folder numbers its classes by itself.
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 4, 2);
    std::filesystem::remove_all(folder_ + "/data/val/ant");
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
    testing::WriteConvertedEncoder(folder_ + "/converted.safetensors");
  }

  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("eval/linear/linear", "--device=cpu --num_workers=1 --threads=1 " + arguments);
  }
  static std::string Inputs(const std::string& checkpoint = "tec.pth") {
    return absl::StrCat("--checkpoint=", folder_, "/", checkpoint, " --data_path=", folder_, "/data ");
  }

  static LinearRunOptions SmallRun(const std::string& output_dir) {
    LinearRunOptions options;
    options.frozen.checkpoint = folder_ + "/tec.pth";
    options.frozen.data_path = folder_ + "/data";
    options.frozen.output_dir = folder_ + "/" + output_dir;
    options.frozen.device = "cpu";
    options.frozen.threads = 1;
    options.protocol = "mae";
    options.batch_size = 7;
    options.accum_iter = 2;
    options.epochs = 3;
    options.lr = 0.5;
    options.warmup_epochs = 1;
    options.quiet = true;
    return options;
  }

  static std::string folder_;
};

std::string LinearProgramTest::folder_;

TEST_F(LinearProgramTest, ProbesByMaesProtocol) {
  const std::string out = folder_ + "/mae";
  const ProgramResult result = Run(
      Inputs() +
      "--batch_size=30 --epochs=40 --warmup_epochs=2 --blr=100 --noaugment --report_seconds=1000 --output_dir=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("30 training images, 8 held-out images, 3 classes"), std::string::npos) << result.output;
  const std::vector<nlohmann::json> log = Log(out);
  ASSERT_EQ(log.size(), 40u);
  EXPECT_EQ(log[39].at("epoch"), 39);
  EXPECT_EQ(log[39].at("n_parameters"), (16 + 1) * 3);
  EXPECT_EQ(log[39].at("updates"), 40);
  // blr x images / 256 at the end of the warm-up, half of it after one of its two epochs.
  EXPECT_NEAR(log[1].at("train_lr").get<double>(), 100 * 30 / 256.0 / 2, 1e-12);
  EXPECT_LT(log[39].at("train_loss"), log[0].at("train_loss"));
  const nlohmann::json json = nlohmann::json::parse(Read(out + "/results.json"));
  // Stripes of different directions, which even an untrained encoder keeps apart.
  EXPECT_GE(json.at("best").at("accuracy").at("top1").get<double>(), 75);
  EXPECT_EQ(json.at("best").at("accuracy").at("top1"), log[39].at("max_accuracy"));
  EXPECT_EQ(json.at("best").at("accuracy").at("top5"), 100);  // Three classes.
  EXPECT_EQ(json.at("best").at("accuracy").at("classes"), (std::vector<std::string>{"ant", "bee", "cat"}));
  EXPECT_TRUE(json.at("best").at("accuracy").at("per_class_top1")[0].is_null());
  EXPECT_EQ(json.at("best").at("accuracy").at("images_of_class"), (std::vector<int>{0, 4, 4}));

  // Its page, which has what the encoder sees.
  EXPECT_NE(result.output.find("report: " + out + "/report.html\n"), std::string::npos) << result.output;
  const std::string page = Read(out + "/report.html");
  for (const char* part : {"linear probe", "<h2>Did it help?</h2>", "<h2>Pictures</h2>", "data:image/jpeg;base64,",
                           "<h2>Command, versions, machine</h2>"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(page.find("Not drawn"), std::string::npos);

  // The best head alone gives the same again, from the run's folder and by name.
  for (const std::string& more : {std::string(), " --resume=" + out + "/best_checkpoint.pth"}) {
    const std::string where = more.empty() ? out : out + "-eval";
    const ProgramResult again = Run(Inputs() + "--eval --output_dir=" + where + more);
    ASSERT_EQ(again.exit_code, 0) << again.output;
    EXPECT_EQ(nlohmann::json::parse(Read(where + "/results.json")).at("best"), json.at("best"));
  }
  // Another encoder's features are not what that head was trained on.
  const ProgramResult other = Run(Inputs("mae.pth") + "--eval --output_dir=" + out);
  EXPECT_EQ(other.exit_code, 1) << other.output;
  EXPECT_NE(other.output.find("of another encoder"), std::string::npos) << other.output;
}

TEST_F(LinearProgramTest, StoppingAndResumingChangesNothing) {
  for (const auto crop : {LinearRunOptions::Crop::kSingleDraw, LinearRunOptions::Crop::kNone}) {
    SCOPED_TRACE(static_cast<int>(crop));
    LinearRunOptions whole = SmallRun(absl::StrCat("whole", static_cast<int>(crop)));
    whole.crop = crop;
    const absl::StatusOr<LinearRunResult> uninterrupted = RunLinear(whole);
    ASSERT_TRUE(uninterrupted.ok()) << uninterrupted.status();
    EXPECT_FALSE(uninterrupted->stopped);
    EXPECT_EQ(uninterrupted->updates, 6);  // 30 images: 4 micro-steps of 7, 2 updates an epoch.

    LinearRunOptions parts = SmallRun(absl::StrCat("parts", static_cast<int>(crop)));
    parts.crop = crop;
    int calls = 0;
    parts.stop_after_update = [](int64_t updates) { return updates == 1 || updates == 4 || updates == 5; };
    for (bool stopped = true; stopped; ++calls) {
      ASSERT_LT(calls, 5);
      const absl::StatusOr<LinearRunResult> part = RunLinear(parts);
      ASSERT_TRUE(part.ok()) << part.status();
      stopped = part->stopped;
    }
    EXPECT_EQ(calls, 4);
    for (const char* name : {"this_checkpoint.pth", "best_checkpoint.pth", "results.json"}) {
      EXPECT_EQ(Read(parts.frozen.output_dir + "/" + name), Read(whole.frozen.output_dir + "/" + name)) << name;
    }
    EXPECT_EQ(LogButTimes(parts.frozen.output_dir), LogButTimes(whole.frozen.output_dir));
    // Once more: nothing is left to train, and the result is still told.
    const absl::StatusOr<LinearRunResult> again = RunLinear(whole);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->max_accuracy, uninterrupted->max_accuracy);
  }
}

// Pictures that fail in the middle of an update: what is saved is the state before it, in its losses' mean as well.
TEST_F(LinearProgramTest, AnUpdateThatIsGoneBackFromLeavesNoLosses) {
  const auto options_of = [](const std::string& output_dir) {
    LinearRunOptions options = SmallRun(output_dir);
    options.batch_norm = false;
    options.epochs = 1;
    options.crop = LinearRunOptions::Crop::kSingleDraw;
    options.frozen.features.max_bad_fraction = 0;
    return options;
  };
  const LinearRunOptions whole = options_of("undisturbed");
  ASSERT_TRUE(RunLinear(whole).ok());
  int ended = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/data/train/bee")) {
    const std::string picture = entry.path().string(), bytes = Read(picture);
    const LinearRunOptions parts = options_of("disturbed_" + entry.path().stem().string());
    ASSERT_TRUE(WriteFile(picture, std::string(bytes.size(), 'x')).ok());
    const bool failed = !RunLinear(parts).ok();
    ASSERT_TRUE(WriteFile(picture, bytes).ok());
    // Some may be in the first micro-step of all, or in none.
    ended += failed && std::filesystem::exists(parts.frozen.output_dir + "/this_checkpoint.pth") ? 1 : 0;
    const absl::StatusOr<LinearRunResult> rest = RunLinear(parts);
    ASSERT_TRUE(rest.ok()) << rest.status();
    EXPECT_EQ(LogButTimes(parts.frozen.output_dir), LogButTimes(whole.frozen.output_dir)) << picture;
  }
  EXPECT_GE(ended, 3);
}

// Not one checkpoint is written by the thread that trains.
TEST_F(LinearProgramTest, SavesBesideTheTraining) {
  const testing::OperationCounter files;
  const absl::StatusOr<LinearRunResult> result = RunLinear(SmallRun("beside"));
  ASSERT_TRUE(result.ok()) << result.status();
  // Only this_checkpoint is linked, after each of three epochs.
  EXPECT_EQ(files.Here(Operation::kLink), 0);
  EXPECT_EQ(files.Beside(Operation::kLink), 3);
  // And the best at least once.
  EXPECT_GE(files.Beside(Operation::kOpen), 4);
}

TEST_F(LinearProgramTest, GoesOnWhereItWasStoppedBeforeTraining) {
  testing::WritePictures(folder_ + "/many/train", {"ant", "bee", "cat"}, 100, 1);
  testing::WritePictures(folder_ + "/many/val", {"ant", "bee", "cat"}, 100, 2);
  const std::string arguments = absl::StrCat(
      "--device=cpu --num_workers=1 --threads=1 --batch_size=2 --epochs=1 --noaugment --checkpoint=", folder_,
      "/tec.pth --data_path=", folder_, "/many --output_dir=", folder_);
  const ProgramResult stopped = testing::StopProgram("eval/linear/linear", arguments + "/stopped");
  EXPECT_EQ(stopped.exit_code, 3) << stopped.output;
  EXPECT_NE(stopped.output.find("the same command goes on from there"), std::string::npos) << stopped.output;
  for (const char* out : {"/stopped", "/unstopped"}) {
    const ProgramResult result = testing::RunProgram("eval/linear/linear", arguments + out);
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  EXPECT_EQ(Read(folder_ + "/stopped/results.json"), Read(folder_ + "/unstopped/results.json"));
}

TEST_F(LinearProgramTest, RefusesToGoOnWithOtherSettings) {
  LinearRunOptions options = SmallRun("changed");
  options.epochs = 1;
  ASSERT_TRUE(RunLinear(options).ok());
  options.lr = 0.25;
  options.frozen.seed = 1;
  const absl::Status status = RunLinear(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("lr: 0.25 (was 0.5); seed: 1 (was 0)"), std::string::npos) << status;
}

TEST_F(LinearProgramTest, SweepsManyHeadsOnStoredFeatures) {
  const std::string out = folder_ + "/sweep", cache = folder_ + "/cache";
  const std::string arguments = Inputs() +
                                "--protocol=dinov2 --features=cls,cls2+pool,cls3 --rates=0.001,10,1e30 --noaugment "
                                "--batch_size=8 --accum_iter=1 --epochs=3 --epoch_length=5 --feature_cache=" +
                                cache + " --output_dir=" + out;
  const ProgramResult result = Run(arguments);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(Log(out).back().at("updates"), 15);
  const nlohmann::json json = nlohmann::json::parse(Read(out + "/results.json"));
  ASSERT_EQ(json.at("last_epoch").size(), 9u);
  EXPECT_EQ(json.at("last_epoch")[4].at("features"), "cls2+pool");
  EXPECT_EQ(json.at("last_epoch")[4].at("rate"), 10);
  EXPECT_GE(json.at("best").at("accuracy").at("top1").get<double>(), 75);
  EXPECT_LT(json.at("best").at("rate"), 1e30);
  // The next run on the same images and encoder reads the features.
  const ProgramResult again = Run(arguments + "2");
  ASSERT_EQ(again.exit_code, 0) << again.output;
  EXPECT_NE(again.output.find("features of the training images: 30 of 30 from " + cache), std::string::npos)
      << again.output;
  EXPECT_EQ(nlohmann::json::parse(Read(out + "2/results.json")).at("best"), json.at("best"));
}

TEST_F(LinearProgramTest, IbotsCropsAreBilinear) {
  const std::string out = folder_ + "/ibot";
  const ProgramResult result =
      Run(Inputs() + "--protocol=ibot --batch_size=8 --accum_iter=1 --epochs=1 --output_dir=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const nlohmann::json json = nlohmann::json::parse(Read(out + "/results.json"));
  EXPECT_EQ(json.at("last_epoch").size(), 45u);
  const std::vector<std::string> settings = json.at("settings");
  EXPECT_EQ(std::count(settings.begin(), settings.end(), "crop: random_resized_bilinear"), 1) << json.at("settings");
  // The same boxes by the other filter are other pictures.
  double losses[2];
  for (const bool bilinear : {false, true}) {
    LinearRunOptions options = SmallRun(bilinear ? "bilinear" : "bicubic");
    options.epochs = 1;
    options.crop = bilinear ? LinearRunOptions::Crop::kRandomResizedBilinear : LinearRunOptions::Crop::kRandomResized;
    ASSERT_TRUE(RunLinear(options).ok());
    losses[bilinear] = Log(options.frozen.output_dir).back().at("train_loss");
  }
  EXPECT_NE(losses[0], losses[1]);
}

TEST_F(LinearProgramTest, TakesAConvertedEncoderAndFewImages) {
  const std::string out = folder_ + "/few";
  const ProgramResult result = Run(Inputs("converted.safetensors") +
                                   "--heads=2 --shots=2 --batch_size=3 --epochs=2 --global_pool --output_dir=" + out);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("6 training images"), std::string::npos) << result.output;
  EXPECT_EQ(nlohmann::json::parse(Read(out + "/results.json")).at("best").at("features"), "global_pool");
}

TEST_F(LinearProgramTest, ADivergingRunStops) {
  LinearRunOptions options = SmallRun("diverging");
  options.batch_norm = false;
  options.optimizer.trust_coefficient = 0;
  options.lr = 1e38;
  options.warmup_epochs = 0;
  const absl::Status status = RunLinear(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_NE(std::string(status.message()).find("the newest checkpoint"), std::string::npos) << status;
}

TEST_F(LinearProgramTest, BadInputEndsWithOneLine) {
  const std::string data = "--data_path=" + folder_ + "/data ", out = "--output_dir=" + folder_ + "/bad ";
  testing::WritePictures(folder_ + "/other/train", {"ant"}, 2, 1);
  testing::WritePictures(folder_ + "/other/val", {"gnu"}, 1, 1);
  testing::WritePictures(folder_ + "/noval/train", {"ant"}, 2, 1);
  struct Case {
    std::string arguments, message;
  };
  for (const Case& one : {
           Case{data + out, "--checkpoint is needed"},
           Case{Inputs() + out + "--protocol=moco", "--protocol=moco: it must be mae, ibot or dinov2"},
           Case{Inputs() + out + "--features=mean", "--features: unknown features \"mean\""},
           Case{Inputs() + out + "--features=cls4", "features cls4 of an encoder that has only 3 blocks"},
           Case{Inputs() + out + "--features=pool,global_pool", "different means"},
           Case{Inputs() + out + "--rates=0.1,0", "--rates: \"0\""},
           Case{Inputs() + out + "--batch_size=1", "--batch_size=1: it must be at least 2"},
           Case{Inputs() + out + "--batch_size=31", "30"},
           Case{Inputs() + out + "--batch_size=16 --accum_iter=2", "not one update"},
           Case{Inputs() + out + "--nb_classes=2", "--nb_classes=2, but"},
           Case{Inputs() + out + "--train_fraction=0", "--train_fraction"},
           Case{Inputs() + out + "--epochs=0", "--epochs=0: it must be at least 1"},
           Case{Inputs() + out + "--eval", "no head to evaluate"},
           Case{Inputs() + out + "--resume=" + folder_ + "/tec.pth", "a checkpoint of method tec, not of linear"},
           Case{"--checkpoint=" + folder_ + "/tec.pth --data_path=" + folder_ + "/other " + out,
                "1 of the 1 held-out classes is not among the 1 training classes: gnu"},
           Case{"--checkpoint=" + folder_ + "/tec.pth --data_path=" + folder_ + "/noval " + out, "val"},
       }) {
    const ProgramResult result = Run(one.arguments);
    EXPECT_EQ(result.exit_code, 1) << one.arguments << "\n" << result.output;
    EXPECT_NE(result.output.find(one.message), std::string::npos) << one.arguments << "\n" << result.output;
  }
}

}  // namespace
}  // namespace tec
