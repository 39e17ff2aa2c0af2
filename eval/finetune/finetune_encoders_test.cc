// Finetuning from encoders that are no plain ViT: that what is trained is the file's model, and that every program
// reads it back without a flag.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "eval/features/pretrained.h"
#include "eval/predict/classifier.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/models/encoder.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::ProgramResult;
using testing::TensorNear;

constexpr int64_t kWidth = 16, kHidden = 24, kSize = 16;

// Random weights of that variant, by their names here.
NamedTensors Weights(const VitVariant& variant) {
  Encoder encoder({kSize, 4, kWidth, 2, 2, variant});
  InitialisePretraining(encoder, 3);
  NamedTensors weights;
  for (const auto& [name, tensor] : NamedState(encoder)) weights.emplace_back(name, tensor.detach().clone());
  return weights;
}

// CLIP's tower as timm has it: QuickGELU, a norm before the blocks.
NamedTensors Clip() {
  VitVariant variant;
  variant.activation = Activation::kQuickGelu;
  variant.pre_norm = true;
  return Weights(variant);
}

// DINOv2's giant with registers: SwiGLU, LayerScale.
NamedTensors Dinov2() {
  VitVariant variant;
  variant.registers = 2;
  variant.activation = Activation::kSwiGlu;
  variant.hidden = kHidden;
  NamedTensors file;
  for (const auto& [name, tensor] : Weights(variant)) {
    file.emplace_back(
        absl::StrReplaceAll(name, {{"reg_token", "register_tokens"}, {"mlp.fc1", "mlp.w12"}, {"mlp.fc2", "mlp.w3"}}),
        tensor);
  }
  file.emplace_back("mask_token", at::zeros({1, kWidth}));
  for (const char* scale : {"blocks.0.ls1", "blocks.0.ls2", "blocks.1.ls1", "blocks.1.ls2"}) {
    file.emplace_back(absl::StrCat(scale, ".gamma"), at::linspace(0.2, 1.2, kWidth));
  }
  return file;
}

// BEiT: relative positions and no others, no bias of the keys.
NamedTensors Beit() {
  VitVariant variant;
  variant.relative_positions = true;
  NamedTensors file;
  for (const auto& [name, tensor] : Weights(variant)) {
    if (name == "pos_embed") continue;
    if (!absl::EndsWith(name, "attn.qkv.bias")) {
      file.emplace_back(name, tensor);
      continue;
    }
    const std::string block = name.substr(0, name.size() - std::string("qkv.bias").size());
    file.emplace_back(block + "q_bias", at::linspace(-0.1, 0.1, kWidth));
    file.emplace_back(block + "v_bias", at::linspace(0.3, -0.1, kWidth));
  }
  return file;
}

struct Case {
  std::string name;
  std::function<NamedTensors()> make;
  std::string flags;  // Without which it is not read.
  bool resizes;       // Can be finetuned at another image size.
};

std::vector<Case> Cases() {
  return {{"timm_clip", Clip, "--family=timm_clip --heads=2", true},
          {"dinov2", Dinov2, "--heads=2", true},
          {"beit", Beit, "", false}};
}

class FinetuneEncodersTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    folder_ = testing::FreshFolder("finetune_" + GetParam().name);
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 4, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 2, 2);
    const NamedTensors weights = GetParam().make();
    ASSERT_TRUE(WriteSafetensors(File(), ViewsOf(weights)).ok());
  }

  std::string File() const { return folder_ + "/encoder.safetensors"; }
  std::string Out(const std::string& run) const { return absl::StrCat(folder_, "/", run); }

  ProgramResult Finetune(const std::string& run, const std::string& flags) const {
    return testing::RunProgram(
        "eval/finetune/finetune",
        absl::StrCat("--device=cpu --precision=float32 --threads=1 --num_workers=1 --batch_size=4 --warmup_epochs=0 "
                     "--aa= --reprob=0 --data_path=",
                     folder_, "/data --finetune=", File(), " ", GetParam().flags, " --output_dir=", Out(run), " ",
                     flags));
  }

  // The two features of the encoder in `path`, read without any flag, of fixed images.
  static at::Tensor FeaturesOf(const std::string& path, const VitRequest& request = {}) {
    at::NoGradGuard no_grad;
    const absl::StatusOr<Pretrained> pretrained = ReadPretrained(path, request);
    EXPECT_TRUE(pretrained.ok()) << pretrained.status();
    if (!pretrained.ok()) return {};
    const absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*pretrained);
    EXPECT_TRUE(encoder.ok()) << encoder.status();
    if (!encoder.ok()) return {};
    const int64_t size = pretrained->encoder.image_size;
    const EncoderFeatures features =
        (*encoder)->forward(at::arange(2 * 3 * size * size, at::kFloat).sin().view({2, 3, size, size}));
    return at::cat({features.cls, features.patch_mean}, 1);
  }

  std::string Content(const std::string& path) const {
    absl::StatusOr<std::string> content = ReadFile(Out(path));
    EXPECT_TRUE(content.ok()) << content.status();
    return content.ok() ? *content : "";
  }

  std::string folder_;
};

// At a rate that moves no weight the checkpoint's encoder is the file's, with everything that leaves no tensor.
TEST_P(FinetuneEncodersTest, TheCheckpointIsReadWithoutAFlag) {
  const ProgramResult run = Finetune("still", "--cls_token --epochs=1 --lr=1e-30 --min_lr=0");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  VitRequest request;
  request.family = GetParam().name;
  request.heads = 2;
  const std::string checkpoint = Out("still/checkpoint-0.pth");
  EXPECT_TRUE(BitEqual(FeaturesOf(checkpoint), FeaturesOf(File(), request)));
  const absl::StatusOr<Pretrained> pretrained = ReadPretrained(checkpoint);
  ASSERT_TRUE(pretrained.ok()) << pretrained.status();
  EXPECT_EQ(pretrained->family, GetParam().name);
  request.family = "mae";
  const absl::Status against = ReadPretrained(checkpoint, request).status();
  EXPECT_TRUE(absl::StrContains(against.message(), "--family=mae, but the checkpoint says " + GetParam().name))
      << against;

  // And what finetuning starts from it is the same again.
  const ProgramResult again = testing::RunProgram(
      "eval/finetune/finetune",
      absl::StrCat("--device=cpu --threads=1 --num_workers=1 --batch_size=4 --warmup_epochs=0 --data_path=", folder_,
                   "/data --finetune=", checkpoint, " --output_dir=", Out("again"),
                   " --cls_token --epochs=1 --lr=1e-30 --min_lr=0"));
  ASSERT_EQ(again.exit_code, 0) << again.output;
  EXPECT_TRUE(BitEqual(FeaturesOf(Out("again/checkpoint-0.pth")), FeaturesOf(checkpoint)));
}

TEST_P(FinetuneEncodersTest, LearnsResumesAndIsPredictedWith) {
  const std::string common = "--drop_path=0.1 --lr=3e-3 --layer_decay=0.9 --model_ema --model_ema_decay=0.5 ";
  const ProgramResult through = Finetune("through", common + "--epochs=3 --save_period=1");
  ASSERT_EQ(through.exit_code, 0) << through.output;
  EXPECT_TRUE(std::filesystem::exists(Out("through/best_checkpoint.pth")));
  const std::vector<std::string> lines = absl::StrSplit(Content("through/log.txt"), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u);
  const nlohmann::json first = nlohmann::json::parse(lines[0]), last = nlohmann::json::parse(lines[2]);
  EXPECT_LT(last.at("train_loss").get<double>(), first.at("train_loss").get<double>());

  // The record goes on with the run, and no byte depends on the stop.
  std::filesystem::create_directories(Out("stopped"));
  std::filesystem::copy_file(Out("through/checkpoint-1.pth"), Out("stopped/checkpoint-1.pth"));
  const ProgramResult stopped = Finetune("stopped", common + "--epochs=3 --save_period=1");
  ASSERT_EQ(stopped.exit_code, 0) << stopped.output;
  EXPECT_TRUE(Content("stopped/checkpoint-2.pth") == Content("through/checkpoint-2.pth"));

  const std::string checkpoint = Out("through/checkpoint-2.pth");
  const ProgramResult eval =
      testing::RunProgram("eval/finetune/finetune",
                          absl::StrCat("--device=cpu --threads=1 --num_workers=1 --batch_size=4 --data_path=", folder_,
                                       "/data --eval --resume=", checkpoint, " --output_dir=", Out("eval")));
  ASSERT_EQ(eval.exit_code, 0) << eval.output;
  const std::string accuracy = absl::StrFormat("* Acc@1 %.3f Acc@5 %.3f loss ", last.at("test_acc1").get<double>(),
                                               last.at("test_acc5").get<double>());
  const size_t at = eval.output.find(accuracy);
  ASSERT_NE(at, std::string::npos) << accuracy << "\n" << eval.output;
  // Printed with three decimals; both may be rounded.
  EXPECT_NEAR(std::atof(eval.output.c_str() + at + accuracy.size()), last.at("test_loss").get<double>(), 6e-4);

  for (const char* entry : {"", " --entry=model_ema"}) {
    const std::string of = absl::StrCat("--checkpoint=", checkpoint, entry);
    for (const auto& [program, flags] : std::vector<std::pair<std::string, std::string>>{
             {"eval/predict/predict", "--data_path=" + folder_ +
                                          "/data/val --device=cpu --threads=1 --num_workers=1 "
                                          "--batch_size=4 --output=" +
                                          folder_ + "/predictions.jsonl"},
             {"eval/knn/knn", "--data_path=" + folder_ + "/data --device=cpu --threads=1 --num_workers=1 --k=3"},
             {"tools/export/export", "--output=" + folder_ + "/model.onnx"}}) {
      const ProgramResult result = testing::RunProgram(program, of + " " + flags);
      EXPECT_EQ(result.exit_code, 0) << program << " " << of << "\n" << result.output;
    }
  }
  const absl::StatusOr<Classifier> classifier = ReadClassifier(checkpoint);
  ASSERT_TRUE(classifier.ok()) << classifier.status();
  EXPECT_EQ(classifier->names, (std::vector<std::string>{"ant", "bee", "cat"}));

  // The names and sizes of timm's plain ViT would be another model.
  const ProgramResult converted = testing::RunProgram(
      "tools/convert/convert",
      absl::StrCat("--resume=", checkpoint, " --everything --output_dir=", folder_, "/all --ckptname=all.pth"));
  EXPECT_EQ(converted.exit_code, 1) << converted.output;
  EXPECT_TRUE(absl::StrContains(converted.output, "what leaves no tensor")) << converted.output;
}

TEST_P(FinetuneEncodersTest, TakesAnotherSizeOrSaysThatItCannot) {
  const ProgramResult run = Finetune("larger", "--epochs=1 --input_size=24");
  if (GetParam().resizes) {
    ASSERT_EQ(run.exit_code, 0) << run.output;
    const absl::StatusOr<Pretrained> pretrained = ReadPretrained(Out("larger/checkpoint-0.pth"));
    ASSERT_TRUE(pretrained.ok()) << pretrained.status();
    EXPECT_EQ(pretrained->encoder.image_size, 24);
    EXPECT_TRUE(FeaturesOf(Out("larger/checkpoint-0.pth")).isfinite().all().item<bool>());
  } else {
    EXPECT_EQ(run.exit_code, 1) << run.output;
    EXPECT_TRUE(absl::StrContains(run.output,
                                  "relative positions for 4 x 4 patches, which are not interpolated: "
                                  "--input_size=16, not 24"))
        << run.output;
  }
}

// A model of the reference's with another mlp_ratio: the same width in blocks and input adaptor, of int(16 * 2.2) = 35.
TEST(FinetuneMlpRatioTest, IsThatOfTheFile) {
  const std::string folder = testing::FreshFolder("finetune_mlp_ratio"), tec = folder + "/tec.pth";
  testing::WritePictures(folder + "/data/train", {"ant", "bee", "cat"}, 4, 1);
  testing::WritePictures(folder + "/data/val", {"ant", "bee", "cat"}, 2, 2);
  testing::WriteTecCheckpoint(tec, /*mlp_token=*/true);
  absl::StatusOr<TrainingState> state = LoadTrainingState(tec);
  ASSERT_TRUE(state.ok()) << state.status();
  NamedTensors narrow;
  for (const auto& [name, view] : state->model) {
    constexpr int64_t kNarrow = 35;
    at::Tensor tensor = TensorOf(view).clone();
    const bool own = absl::StartsWith(name, "blocks.") || absl::StartsWith(name, "cls_token_mlp.");
    if (own && absl::StrContains(name, ".fc1")) tensor = tensor.slice(0, 0, kNarrow).contiguous();
    if (own && absl::EndsWith(name, ".fc2.weight")) tensor = tensor.slice(1, 0, kNarrow).contiguous();
    narrow.emplace_back(name, tensor);
  }
  state->model = ViewsOf(narrow);
  ASSERT_TRUE(SaveTrainingState(tec, *state).ok());
  const auto run = [&](const std::string& program, const std::string& flags) {
    const ProgramResult result =
        testing::RunProgram(program, "--device=cpu --threads=1 --num_workers=1 --batch_size=4 " + flags);
    EXPECT_EQ(result.exit_code, 0) << program << " " << flags << "\n" << result.output;
  };
  const std::string finetune = absl::StrCat("--warmup_epochs=0 --data_path=", folder, "/data --finetune=", tec,
                                            " --precision=float32 --save_period=1 --mlp_token --output_dir=", folder);
  run("eval/finetune/finetune", finetune + "/through --epochs=2");
  const auto content = [&folder](const std::string& path) { return *ReadFile(folder + path); };
  std::filesystem::create_directories(folder + "/stopped");
  std::filesystem::copy_file(folder + "/through/checkpoint-0.pth", folder + "/stopped/checkpoint-0.pth");
  run("eval/finetune/finetune", finetune + "/stopped --epochs=2");
  EXPECT_TRUE(content("/stopped/checkpoint-1.pth") == content("/through/checkpoint-1.pth"));
  const std::string best = folder + "/through/best_checkpoint.pth";
  run("eval/predict/predict", absl::StrCat("--data_path=", folder, "/data/val --checkpoint=", best,
                                           " --output=", folder, "/predictions.jsonl"));
  const absl::StatusOr<Classifier> classifier = ReadClassifier(best);
  ASSERT_TRUE(classifier.ok()) << classifier.status();
  EXPECT_EQ(classifier->model->named_parameters()["cls_token_mlp.fc1.weight"].size(0), 35);
  EXPECT_EQ(classifier->model->named_parameters()["blocks.2.mlp.fc1.weight"].size(0), 35);
}

// Each of tec/checkpoint/families/goldens: what the finetuned checkpoint gives is what the package gave.
TEST(FinetuneGoldensTest, GivesTheFeaturesOfThePackage) {
  constexpr char kGoldens[] = "tec/checkpoint/families/goldens/";
  // As eval/features/family_goldens_test.cc.
  constexpr double kTolerance = 5e-5;
  const std::string folder = testing::FreshFolder("finetune_goldens");
  testing::WritePictures(folder + "/data/train", {"ant", "bee"}, 2, 1);
  testing::WritePictures(folder + "/data/val", {"ant", "bee"}, 1, 2);
  int cases = 0, pools = 0, normalised_otherwise = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename(), file = absl::StrCat(kGoldens, name, "/model.safetensors");
    SCOPED_TRACE(name);
    const absl::StatusOr<Safetensors> expected = ReadSafetensors(absl::StrCat(kGoldens, name, "/expected.safetensors"));
    ASSERT_TRUE(expected.ok()) << expected.status();
    std::map<std::string, std::string> told;
    for (const auto& [key, value] : expected->metadata) told.emplace(key, value);
    const at::Tensor images = TensorOf(*expected->tensors.Find("images"));
    VitRequest request;
    request.family = told.at("family");
    request.heads = std::atoll(told.at("heads").c_str());
    const absl::StatusOr<Pretrained> original = ReadPretrained(file, request);
    ASSERT_TRUE(original.ok()) << original.status();
    // An attention pool, which stands in its place elsewhere, is no part of a classifier; and BEiT-3 ends without the
    // norm that the token of one goes through.
    const bool token = told.at("class_token") == "1" && original->traits.final_norm;
    const TensorView* cls = token ? expected->tensors.Find("cls") : nullptr;
    const ProgramResult run = testing::RunProgram(
        "eval/finetune/finetune",
        absl::StrCat("--device=cpu --precision=float32 --threads=1 --num_workers=1 --batch_size=4 --warmup_epochs=0 "
                     "--aa= --reprob=0 --epochs=1 --lr=1e-30 --min_lr=0 --data_path=",
                     folder, "/data --finetune=", file, " --family=", request.family, " --heads=", request.heads,
                     " --input_size=", images.size(2), cls == nullptr ? "" : " --cls_token", " --output_dir=", folder,
                     "/", name));
    ASSERT_EQ(run.exit_code, 0) << run.output;
    // What a classifier does not take of the file is said.
    EXPECT_EQ(absl::StrContains(run.output, "the attention pool is left out"), original->traits.pool_hidden > 0)
        << run.output;
    // The run normalises as ImageNet's images are. Where something says that the file's were otherwise, a warning does.
    const bool others =
        original->statistics.known() && (original->statistics.mean != std::vector<float>{0.485f, 0.456f, 0.406f} ||
                                         original->statistics.std != std::vector<float>{0.229f, 0.224f, 0.225f});
    EXPECT_EQ(absl::StrContains(run.output, "learned of images normalised by mean "), others) << run.output;
    normalised_otherwise += others;
    pools += original->traits.pool_hidden > 0;
    const absl::StatusOr<Pretrained> read = ReadPretrained(absl::StrCat(folder, "/", name, "/checkpoint-0.pth"));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->encoder.image_size, images.size(2));
    const absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*read);
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    at::NoGradGuard no_grad;
    // Without a [CLS] token or a pool the classifier has no use for the final norm, and its checkpoint none.
    if (cls != nullptr) {
      EXPECT_TRUE(TensorNear((*encoder)->forward(images).cls, TensorOf(*cls), kTolerance));
      EXPECT_TRUE(TensorNear((*encoder)->forward(images).patch_mean, TensorOf(*expected->tensors.Find("patch_mean")),
                             kTolerance));
    }
    EXPECT_TRUE(
        TensorNear((*encoder)->LastBlocks(images, 1).front(), TensorOf(*expected->tensors.Find("last")), kTolerance));
    ++cases;
  }
  EXPECT_GE(cases, 7);
  EXPECT_GE(pools, 1);
  EXPECT_GE(normalised_otherwise, 3);
  EXPECT_LT(normalised_otherwise, cases);
}

// The new model sees its images as the run normalises them: a file's other mean and deviation are named with what would
// be its own, and with those no more is said.
TEST(FinetuneNormalisationTest, WarnsOfAnotherThanTheFilesOwn) {
  const std::string folder = testing::FreshFolder("finetune_normalisation"), file = folder + "/model.safetensors";
  testing::WritePictures(folder + "/data/train", {"ant", "bee"}, 2, 1);
  testing::WritePictures(folder + "/data/val", {"ant", "bee"}, 1, 2);
  std::filesystem::copy("tec/checkpoint/families/goldens/siglip2_timm", folder);
  const auto run = [&](const std::string& flags) {
    const ProgramResult result = testing::RunProgram(
        "eval/finetune/finetune",
        absl::StrCat("--device=cpu --precision=float32 --threads=1 --num_workers=1 --batch_size=4 --warmup_epochs=0 "
                     "--epochs=1 --data_path=",
                     folder, "/data --finetune=", file, " --heads=2 --output_dir=", folder, "/out --overwrite ",
                     flags));
    return result;
  };
  const ProgramResult warned = run("");
  ASSERT_EQ(warned.exit_code, 0) << warned.output;
  EXPECT_TRUE(absl::StrContains(warned.output,
                                "learned of images normalised by mean 0.5,0.5,0.5 and deviation "
                                "0.5,0.5,0.5"))
      << warned.output;
  EXPECT_TRUE(absl::StrContains(warned.output,
                                "this run normalises by mean 0.485,0.456,0.406 and deviation "
                                "0.229,0.224,0.225. --mean=0.5,0.5,0.5 --std=0.5,0.5,0.5 gives"))
      << warned.output;
  const ProgramResult equal = run("--mean=0.5,0.5,0.5 --std=0.5,0.5,0.5");
  ASSERT_EQ(equal.exit_code, 0) << equal.output;
  EXPECT_FALSE(absl::StrContains(equal.output, "learned of images")) << equal.output;
  // [CLS] is asked for, of which the file has none but a pool.
  const ProgramResult refused = run("--cls_token");
  EXPECT_EQ(refused.exit_code, 1) << refused.output;
  EXPECT_TRUE(absl::StrContains(refused.output, file + " has an attention pool in the place of [CLS], which is not "
                                                       "finetuned: leave --cls_token out"))
      << refused.output;
}

INSTANTIATE_TEST_SUITE_P(All, FinetuneEncodersTest, ::testing::ValuesIn(Cases()),
                         [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace tec
