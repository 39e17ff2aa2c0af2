#include "tools/convert/convert_file.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
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
  options.heads = 2;
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

TEST(ConvertFileTest, SaysWhatCannotBeDone) {
  ConvertOptions options;
  options.input = kInput;
  options.output = ::testing::TempDir() + "/no.pth";
  const auto error = [](const ConvertOptions& changed) { return std::string(ConvertFile(changed).status().message()); };
  ConvertOptions changed = options;
  changed.to = "keras";
  EXPECT_THAT(error(changed), HasSubstr("known are tec, timm, mae and hf"));
  changed = options;
  changed.model = "vit_base_patch16";
  EXPECT_THAT(error(changed), HasSubstr("the file has width 16, 3 blocks"));
  changed = options;
  changed.to = "hf";
  EXPECT_THAT(error(changed), HasSubstr("--heads"));
  changed.heads = 3;
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
