// The program with nothing but pictures and somebody's base model.

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "eval/testing/tiny.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using testing::ProgramResult;

class OwnImagesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("own_images");
    testing::WritePictures(folder_ + "/pictures", {"ant", "bee"}, 40, 1);
    testing::WriteMaeCheckpoint(folder_ + "/base.pth");
    testing::WriteConvertedEncoder(folder_ + "/no_heads.safetensors");
  }

  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("tec/pretrain", "--device=cpu --threads=1 --num_workers=1 " + arguments);
  }
  static std::string Inputs() {
    return absl::StrCat("--data_path=", folder_, "/pictures --base_model=", folder_, "/base.pth ");
  }

  static std::string folder_;
};

std::string OwnImagesTest::folder_;

// The base model is 16 wide, of which no named size is.
TEST_F(OwnImagesTest, TakesTheShapeFromTheFileAndTheRestFromThePictures) {
  const ProgramResult result = Run(Inputs() + "--epochs=2 --output_dir=" + folder_ + "/run");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  // 80 pictures: 32 an update.
  EXPECT_THAT(result.output, HasSubstr("own_images: 80 images, 2 epochs of 2 updates of 32 images: 4 updates, about 1 "
                                       "minutes on cpu\nmodel as "));
  const absl::StatusOr<std::string> text = ReadFile(folder_ + "/run/experiment.textproto");
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* part : {"name: \"own_images\"", "width: 16", "heads: 2", "mlp_token: true", "pred_att: true",
                           "warmup_epochs: 0.2", "att_tau: 1\n"}) {
    EXPECT_THAT(*text, HasSubstr(part));
  }
  // The same command goes on, or here finds that it is done.
  const ProgramResult again = Run(Inputs() + "--epochs=2 --output_dir=" + folder_ + "/run");
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, ::testing::Not(HasSubstr("changed since the checkpoint")));
}

TEST_F(OwnImagesTest, AFinishedFolderIsNotTakenForAnotherRun) {
  const std::string out = folder_ + "/finished", flags = Inputs() + "--epochs=1 --output_dir=" + out;
  ASSERT_EQ(Run(flags + " --keep_last=1 --save_weights=encoder").exit_code, 0);
  const auto content = [&out](const std::string& name) {
    const absl::StatusOr<std::string> text = ReadFile(out + "/" + name);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? *text : "";
  };
  // What evaluating needs, and no more.
  EXPECT_LT(content("checkpoint-0.pth").size(), content("this_checkpoint.pth").size() / 2);
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    const std::string name = entry.path().filename();
    if (name.find("tfevents") == std::string::npos) continue;
    EXPECT_THAT(content(name), HasSubstr("loss_att_floor"));
  }
  const std::string checkpoint = content("this_checkpoint.pth"), settings = content("experiment.textproto");

  const ProgramResult other = Run(flags + " --seed=6");
  EXPECT_EQ(other.exit_code, 1) << other.output;
  for (const char* part : {"seed: 6, was 5", "--overwrite", "--resume", "--output_dir", "finished run of 1 epochs"}) {
    EXPECT_THAT(other.output, HasSubstr(part));
  }
  // Nor with more epochs, in which the finished run would have gone on as a mixture of both.
  const ProgramResult longer = Run(flags + " --seed=6 --epochs=2");
  EXPECT_EQ(longer.exit_code, 1) << longer.output;
  for (const char* part : {"seed: 6, was 5", "--overwrite", "this_checkpoint.pth goes on from it"}) {
    EXPECT_THAT(longer.output, HasSubstr(part));
  }
  EXPECT_EQ(content("experiment.textproto"), settings);
  EXPECT_EQ(content("this_checkpoint.pth"), checkpoint);
  // Other pictures are another run, too.
  testing::WritePictures(folder_ + "/others", {"ant", "bee"}, 40, 2);
  const ProgramResult elsewhere =
      Run("--data_path=" + folder_ + "/others --base_model=" + folder_ + "/base.pth --epochs=1 --output_dir=" + out);
  EXPECT_EQ(elsewhere.exit_code, 1) << elsewhere.output;
  EXPECT_THAT(elsewhere.output, HasSubstr("data.path: "));

  EXPECT_EQ(Run(flags).exit_code, 0);
  const ProgramResult anew = Run(flags + " --seed=6 --overwrite");
  EXPECT_EQ(anew.exit_code, 0) << anew.output;
  EXPECT_THAT(content("experiment.textproto"), HasSubstr("seed: 6\n"));
  EXPECT_NE(content("this_checkpoint.pth"), checkpoint);
}

// 40 epochs of warm-up, the reference's default, in a run of 2.
TEST_F(OwnImagesTest, AWarmUpLongerThanTheRunIsWarnedOf) {
  const ProgramResult result = Run(Inputs() + "--epochs=2 --warmup_epochs=40 --output_dir=" + folder_ + "/warm");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("the warm-up of 40 epochs (--warmup_epochs) is as long as the run of 2"));
  EXPECT_THAT(result.output, HasSubstr("ends at 5 %"));
}

TEST_F(OwnImagesTest, AConfigThatCanBePrintedAndCommandsOfTheReferenceStay) {
  const ProgramResult printed = Run(Inputs() + "--config=own_images --print_config --topkatt=2");
  ASSERT_EQ(printed.exit_code, 0) << printed.output;
  EXPECT_THAT(printed.output, HasSubstr("epochs: 1600"));
  EXPECT_THAT(printed.output, HasSubstr("topkatt: 2"));
  const ProgramResult reference = Run(Inputs() + "--model=mae_vit_tiny_patch16 --print_config");
  ASSERT_EQ(reference.exit_code, 0) << reference.output;
  EXPECT_THAT(reference.output, HasSubstr("epochs: 400"));
  EXPECT_THAT(reference.output, HasSubstr("mlp_token: false"));
}

TEST_F(OwnImagesTest, SaysWhatIsMissing) {
  ProgramResult result = Run("--config=own_images --data_path=" + folder_ + "/pictures");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("--base_model=FILE"));
  result = Run("--data_path=" + folder_ + "/pictures --base_model=" + folder_ + "/no_heads.safetensors");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("heads"));
  result = Run("--data_path=/no/such/folder --base_model=" + folder_ + "/base.pth");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("/no/such/folder"));
}

}  // namespace
}  // namespace tec
