// Grey pictures, and pictures of four channels, through every program: a base model from pixels, a new model against
// it, finetuning, and the evaluators, which take what they have to know from the checkpoint.

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

constexpr char kTec[] = R"(
  model {
    name: "custom"
    encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 }
    decoder { width: 8 depth: 1 heads: 2 }
    mlp_token: true
    pred_att: true
  }
  base_model {
    name: "custom"
    encoder { patch_size: 4 width: 16 depth: 3 heads: 2 }
    topkatt: 3
  }
  optimizer { lr: 1e-3 }
  schedule { warmup_epochs: 0 }
)";

class ChannelsTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    folder_ = testing::FreshFolder(absl::StrCat("channels", GetParam()));
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 8, 1, GetParam());
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 4, 2, GetParam());
    ASSERT_TRUE(WriteFile(folder_ + "/mae.textproto", testing::kTinyMae).ok());
    ASSERT_TRUE(WriteFile(folder_ + "/tec.textproto", kTec).ok());
    std::string mean = "0.5", std = "0.25";
    for (int c = 1; c < GetParam(); ++c) {
      absl::StrAppend(&mean, ",0.4");
      absl::StrAppend(&std, ",0.2");
    }
    statistics_ = absl::StrCat("--mean=", mean, " --std=", std);
    flags_ = absl::StrCat("--channels=", GetParam(), " ", statistics_, " ");
  }

  // A program that must end well; what it printed.
  std::string Done(const std::string& program, const std::string& arguments) {
    const ProgramResult result = Run(program, arguments);
    EXPECT_EQ(result.exit_code, 0) << program << " " << arguments << "\n" << result.output;
    return result.output;
  }
  // One that must refuse its input; what it printed.
  std::string Refused(const std::string& program, const std::string& arguments) {
    const ProgramResult result = Run(program, arguments);
    EXPECT_EQ(result.exit_code, 1) << program << " " << arguments << "\n" << result.output;
    return result.output;
  }
  ProgramResult Run(const std::string& program, const std::string& arguments) {
    return testing::RunProgram(program, absl::StrCat("--device=cpu --precision=float32 --threads=1 --num_workers=1 ",
                                                     "--data_path=", folder_, "/data ", arguments));
  }
  std::string Pretrain(const std::string& name, const std::string& more) const {
    return absl::StrCat("--config=", folder_, "/", name, ".textproto --output_dir=", folder_, "/", name,
                        " --epochs=1 --batch_size=8 ", more);
  }
  std::string Checkpoint(const std::string& run) const { return absl::StrCat(folder_, "/", run, "/checkpoint-0.pth"); }

  std::string folder_, statistics_, flags_;
};

void ExpectHas(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in\n" << text;
}

TEST_P(ChannelsTest, ThroughEveryProgram) {
  Done(testing::kPretrain, Pretrain("mae", flags_));
  const std::string base = absl::StrCat("--base_model=", Checkpoint("mae"), " ");
  ExpectHas(Done(testing::kPretrain, Pretrain("tec", base + flags_ + "--knn_every=1")), "knn_top1");

  const std::string finetune = absl::StrCat("--finetune=", Checkpoint("tec"),
                                            " --mlp_token --batch_size=4 --epochs=1 --warmup_epochs=0 --lr=1e-3 "
                                            "--mixup=0.8 --cutmix=1 --reprob=1 --output_dir=",
                                            folder_, "/finetuned ");
  Done(testing::kFinetune, finetune + flags_ + "--aa=");
  ExpectHas(
      Done(testing::kFinetune, absl::StrCat("--eval --mlp_token --resume=", Checkpoint("finetuned"), " ", flags_)),
      "* Acc@1 ");

  // Without a word about channels, mean and deviation. Stripes of different directions: any encoder that sees the
  // pictures keeps them apart.
  for (const char* run : {"mae", "tec", "finetuned"}) {
    const std::string out = absl::StrCat(folder_, "/knn_", run);
    const std::string output = Done(
        testing::kKnn, absl::StrCat("--checkpoint=", Checkpoint(run), " --k=1 --features=pool --output_dir=", out));
    ExpectHas(output, absl::StrCat("channels ", GetParam()));
    const nlohmann::json json = nlohmann::json::parse(*ReadFile(out + "/results.json"));
    EXPECT_GE(json.at("results")[0].at("top1").get<double>(), 75) << run;
  }
  const std::string tec = absl::StrCat("--checkpoint=", Checkpoint("tec"), " ");
  Done(testing::kLinear, absl::StrCat(tec, "--batch_size=8 --epochs=1 --output_dir=", folder_, "/linear"));
  Done(testing::kLogistic, absl::StrCat(tec, "--c=1"));

  // The features are of images normalised as in training: with the same numbers they are found in the cache.
  const std::string cached = absl::StrCat("--k=1 --feature_cache=", folder_, "/cache ");
  Done(testing::kKnn, tec + cached);
  ExpectHas(Done(testing::kKnn, tec + cached + statistics_), "features of the training images: 24 of 24 from");
  EXPECT_EQ(Done(testing::kKnn, tec + cached + statistics_ + "5").find("images: from"), std::string::npos);

  // Converted weights say how many channels they take, but not how to normalise them.
  ASSERT_EQ(testing::RunProgram(testing::kConvert, absl::StrCat("--resume=", Checkpoint("tec"), " --mlp_token ",
                                                                "--output_dir=", folder_, "/converted"))
                .exit_code,
            0);
  std::string converted;
  for (const auto& file : std::filesystem::directory_iterator(folder_ + "/converted")) converted = file.path();
  const std::string plain = absl::StrCat("--checkpoint=", converted, " --heads=2 --k=1 ");
  ExpectHas(Refused(testing::kKnn, plain),
            absl::StrCat("takes images of ", GetParam(), " channels, for which there are 0"));
  Done(testing::kKnn, plain + statistics_);
}

TEST_P(ChannelsTest, WhatDoesNotFitIsRefusedWithTheFlagsThatWould) {
  const std::string channels = absl::StrCat("--channels=", GetParam());
  ExpectHas(Refused(testing::kPretrain, Pretrain("mae", channels)),
            "give --mean and --std with a number for each channel");

  Done(testing::kPretrain, Pretrain("mae", flags_));
  const std::string base = absl::StrCat("--base_model=", Checkpoint("mae"));
  ExpectHas(Refused(testing::kPretrain, Pretrain("tec", base)),
            absl::StrCat("a patch embedding for images of ", GetParam(),
                         " channels (the experiment's have 3: --channels must be ", GetParam()));
  ExpectHas(Refused(testing::kPretrain, Pretrain("mae", "")), absl::StrCat("data.channels: 3, was ", GetParam()));
  const std::string finetune = absl::StrCat("--finetune=", Checkpoint("mae"), " --output_dir=", folder_, "/out ");
  ExpectHas(Refused(testing::kFinetune, finetune + flags_), "RandAugment is for RGB pictures");
  ExpectHas(Refused(testing::kFinetune, finetune),
            absl::StrCat("takes images of ", GetParam(), " channels, --channels is 3: ", "give ",
                         flags_.substr(0, flags_.size() - 1)));

  testing::WriteMaeCheckpoint(folder_ + "/rgb.pth");
  ExpectHas(Refused(testing::kPretrain, Pretrain("tec", absl::StrCat("--base_model=", folder_, "/rgb.pth ", flags_))),
            GetParam() == 1 ? "(the experiment's have 1: --channels=3, the default, decodes grey pictures as RGB"
                            : "(the experiment's have 4: --channels must be 3, or the weights those of a model for 4");
  ExpectHas(Refused(testing::kFinetune,
                    absl::StrCat("--aa= --finetune=", folder_, "/rgb.pth --output_dir=", folder_, "/out ", flags_)),
            "takes images of 3 channels");
}

INSTANTIATE_TEST_SUITE_P(GreyAndFour, ChannelsTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace tec
