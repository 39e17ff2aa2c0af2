#include "tools/convert/convert_file.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

constexpr char kInput[] = "tec/testing/goldens/weight_convert/pretrain.pth";

StateDictFile Converted(ConvertOptions options, const std::string& name) {
  options.input = kInput;
  options.output = absl::StrCat(::testing::TempDir(), "/", name);
  const absl::StatusOr<std::string> done = ConvertFile(options);
  EXPECT_TRUE(done.ok()) << done.status();
  absl::StatusOr<StateDictFile> file = ReadStateDict(options.output);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : StateDictFile();
}

TEST(ConvertFileTest, BothFormatsHoldTheSame) {
  const StateDictFile pth = Converted({}, "a.pth"), safetensors = Converted({}, "a.safetensors");
  EXPECT_EQ(pth.container, "zip .pth");
  EXPECT_EQ(pth.top_level, "");
  EXPECT_EQ(safetensors.container, "safetensors");
  EXPECT_EQ(pth.tensors.size(), 4 + 12 * 3);
  EXPECT_EQ(FirstDifference(pth.tensors, safetensors.tensors), "");
}

TEST(ConvertFileTest, EachTargetHasItsNames) {
  ConvertOptions options;
  options.to = "timm";
  EXPECT_NE(Converted(options, "timm.pth").tensors.Find("norm.weight"), nullptr);
  options.to = "mae";
  EXPECT_EQ(Converted(options, "mae.pth").top_level, "model");
  options.to = "hf";
  options.request.heads = 2;
  const StateDictFile file = Converted(options, "hf/model.safetensors"), plain = Converted({}, "b.pth");
  EXPECT_EQ(file.tensors.size(), 4 + 16 * 3 + 2);
  const std::vector<float> qkv = plain.tensors.Find("blocks.2.attn.qkv.weight")->Values<float>();
  const TensorView* key = file.tensors.Find("encoder.layer.2.attention.attention.key.weight");
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(key->Values<float>(), std::vector<float>(qkv.begin() + qkv.size() / 3, qkv.begin() + 2 * qkv.size() / 3));
  const absl::StatusOr<std::string> config = ReadFile(::testing::TempDir() + "/hf/config.json");
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(*config, HasSubstr("\"num_attention_heads\": 2"));
  EXPECT_THAT(*config, HasSubstr("\"image_size\": 16"));
}

TEST(ConvertFileTest, EverythingKeepsEveryTensor) {
  ConvertOptions options;
  options.everything = true;
  const absl::StatusOr<StateDictFile> before = ReadStateDict(kInput);
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(FirstDifference(Converted(options, "all.safetensors").tensors, before->tensors), "");
  options.dtype = "bfloat16";
  EXPECT_EQ(Converted(options, "half.pth").tensors.Find("norm.bias")->dtype, DType::kBFloat16);
}

TEST(ConvertFileTest, TakesTheHeadsFromTheRecordedRun) {
  absl::StatusOr<TrainingState> state = LoadTrainingState(kInput);
  ASSERT_TRUE(state.ok()) << state.status();
  state->method = "tec";
  state->experiment = R"(model { name: "custom" encoder { width: 16 heads: 8 } })";
  ConvertOptions options;
  options.input = ::testing::TempDir() + "/recorded.pth";
  ASSERT_TRUE(SaveTrainingState(options.input, *state).ok());
  options.output = ::testing::TempDir() + "/recorded/model.safetensors";
  options.to = "hf";
  const absl::StatusOr<std::string> done = ConvertFile(options);
  ASSERT_TRUE(done.ok()) << done.status();
  const absl::StatusOr<std::string> config = ReadFile(::testing::TempDir() + "/recorded/config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(*config, HasSubstr("\"num_attention_heads\": 8"));
}

// What finetuning makes of the golden checkpoint: its encoder, with a classifier by the mean of the patches or by
// [CLS].
std::string Finetuned(bool global_pool) {
  absl::StatusOr<TrainingState> state = LoadTrainingState(kInput);
  EXPECT_TRUE(state.ok()) << state.status();
  StateDict model;
  for (const auto& [name, tensor] : state->model) {
    const bool encoder = absl::StartsWith(name, "cls_token") || absl::StartsWith(name, "blocks.") ||
                         absl::StartsWith(name, "patch_embed.") || name == "pos_embed";
    if (!encoder && (global_pool || !absl::StartsWith(name, "norm."))) continue;
    EXPECT_TRUE(model.Add(name, tensor).ok());
  }
  const std::vector<float> ones(16, 1), numbers(3 * 16, 0.5f);
  if (global_pool) {
    EXPECT_TRUE(model.Add("fc_norm.weight", TensorView::FromFloats({16}, ones)).ok());
    EXPECT_TRUE(model.Add("fc_norm.bias", TensorView::FromFloats({16}, ones)).ok());
  }
  EXPECT_TRUE(model.Add("head.weight", TensorView::FromFloats({3, 16}, numbers)).ok());
  EXPECT_TRUE(model.Add("head.bias", TensorView::FromFloats({3}, {1, 2, 3})).ok());
  TrainingState finetuned;
  finetuned.model = model;
  finetuned.method = "finetune";
  finetuned.epoch = 4;
  finetuned.experiment = R"(
    model: "custom" encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 4 } mlp_token: true
    data { mean: [0.1, 0.2, 0.3] std: [0.5, 0.6, 0.7] } class_names: "ant" class_names: "bee \"queen\"")";
  finetuned.counters["dataset_size"] = 1234;
  finetuned.numbers["max_accuracy"] = 87.5;
  const std::string path = absl::StrCat(::testing::TempDir(), "/finetuned", global_pool, ".pth");
  EXPECT_TRUE(SaveTrainingState(path, finetuned).ok());
  return path;
}

nlohmann::json Json(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? nlohmann::json::parse(*text) : nlohmann::json();
}

TEST(ConvertFileTest, AFinetunedModelKeepsItsClassifier) {
  ConvertOptions options;
  for (const bool global_pool : {true, false}) {
    options.input = Finetuned(global_pool);
    const std::string folder = absl::StrCat(::testing::TempDir(), "/timm", global_pool);
    options.to = "timm";
    options.head = true;
    options.output = folder + "/model.safetensors";
    absl::StatusOr<std::string> done = ConvertFile(options);
    ASSERT_TRUE(done.ok()) << done.status();
    EXPECT_THAT(*done, HasSubstr("with its classifier of 3 classes"));
    absl::StatusOr<StateDictFile> file = ReadStateDict(options.output);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->tensors.Find("head.bias")->Values<float>(), (std::vector<float>{1, 2, 3}));
    EXPECT_EQ(file->tensors.Find("fc_norm.weight") != nullptr, global_pool);
    EXPECT_EQ(file->tensors.Find("norm.weight") != nullptr, !global_pool);
    const nlohmann::json timm = Json(folder + "/config.json");
    EXPECT_EQ(timm["num_classes"], 3);
    EXPECT_EQ(timm["global_pool"], global_pool ? "avg" : "token");
    EXPECT_EQ(timm["model_args"]["num_heads"], 4);
    EXPECT_EQ(timm["pretrained_cfg"]["mean"], nlohmann::json({0.1, 0.2, 0.3}));
    EXPECT_EQ(timm["pretrained_cfg"]["std"], nlohmann::json({0.5, 0.6, 0.7}));
    EXPECT_EQ(timm["pretrained_cfg"]["crop_pct"], 0.875);
    EXPECT_EQ(timm["label_names"], nlohmann::json({"ant", "bee \"queen\"", "#2"}));
    const absl::StatusOr<std::string> card = ReadFile(folder + "/README.md");
    ASSERT_TRUE(card.ok()) << card.status();
    for (const char* part : {"for 5 epochs", "1234 training images, 3 classes: ant,", "87.50 %", "width: 16"}) {
      EXPECT_THAT(*card, HasSubstr(part));
    }

    options.to = "hf";
    const std::string hf = absl::StrCat(::testing::TempDir(), "/hf", global_pool);
    options.output = hf + "/model.safetensors";
    done = ConvertFile(options);
    ASSERT_TRUE(done.ok()) << done.status();
    file = ReadStateDict(options.output);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_NE(file->tensors.Find("classifier.weight"), nullptr);
    EXPECT_NE(file->tensors.Find(global_pool ? "beit.pooler.layernorm.bias" : "vit.layernorm.bias"), nullptr);
    EXPECT_EQ(file->tensors.Find("beit.encoder.layer.0.attention.attention.key.bias"), nullptr);
    const nlohmann::json config = Json(hf + "/config.json");
    EXPECT_EQ(config["architectures"][0], global_pool ? "BeitForImageClassification" : "ViTForImageClassification");
    EXPECT_EQ(config["id2label"]["0"], "ant");
    const nlohmann::json processor = Json(hf + "/preprocessor_config.json");
    EXPECT_EQ(processor["image_mean"], nlohmann::json({0.1, 0.2, 0.3}));
    EXPECT_EQ(processor["size"]["shortest_edge"], 18);
    EXPECT_EQ(processor["crop_size"]["height"], 16);
  }
  // The encoder alone.
  options.head = false;
  const absl::StatusOr<std::string> done = ConvertFile(options);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(ReadStateDict(options.output)->tensors.Find("classifier.weight"), nullptr);
  // By the mean it has no final norm of its own.
  options.input = Finetuned(true);
  EXPECT_THAT(std::string(ConvertFile(options).status().message()), HasSubstr("no final norm"));
}

TEST(ConvertFileTest, WhatAFileDoesNotSayIsSaidToBeAssumed) {
  ConvertOptions options;
  options.input = kInput;
  options.to = "timm";
  options.output = ::testing::TempDir() + "/assumed/model.safetensors";
  // Weights go without the number of heads, as before; the description does not.
  absl::StatusOr<std::string> done = ConvertFile(options);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_THAT(*done, HasSubstr("no config.json"));
  EXPECT_THAT(*done, HasSubstr("--heads"));
  options.request.heads = 2;
  done = ConvertFile(options);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_THAT(*done, HasSubstr("ImageNet's mean and deviation, assumed"));
  EXPECT_EQ(Json(::testing::TempDir() + "/assumed/config.json")["num_classes"], 0);
}

TEST(ConvertFileTest, SaysWhatCannotBeDone) {
  ConvertOptions options;
  options.input = kInput;
  options.output = ::testing::TempDir() + "/no.pth";
  const auto error = [](const ConvertOptions& changed) { return std::string(ConvertFile(changed).status().message()); };
  ConvertOptions changed = options;
  changed.to = "keras";
  EXPECT_THAT(error(changed), HasSubstr("known are tec, timm, mae and hf"));
  changed.to = "onnx";
  EXPECT_THAT(error(changed), HasSubstr("//tools:export -- --format=onnx"));
  changed = options;
  changed.model = "vit_base_patch16";
  EXPECT_THAT(error(changed), HasSubstr("the file has width 16, 3 blocks"));
  changed = options;
  changed.to = "hf";
  EXPECT_THAT(error(changed), HasSubstr("--heads"));
  changed.request.heads = 3;
  EXPECT_THAT(error(changed), HasSubstr("3 attention heads do not divide the width 16"));
  changed = options;
  changed.to = "timm";
  changed.input = "tec/testing/goldens/weight_convert/converted.pth";
  EXPECT_THAT(error(changed), HasSubstr("no final norm"));
  changed = options;
  changed.input = "/no/such/file.pth";
  EXPECT_THAT(error(changed), HasSubstr("/no/such/file.pth"));
}

}  // namespace
}  // namespace tec
