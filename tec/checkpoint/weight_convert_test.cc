#include "tec/checkpoint/weight_convert.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/state_dict_file.h"

namespace tec {
namespace {

constexpr char kFolder[] = "tec/testing/goldens/weight_convert/";

// The reference computes the token in float32.
constexpr float kTokenTolerance = 1e-6;

TEST(WeightConvertTest, GivesWhatTheReferenceGives) {
  const absl::StatusOr<StateDictFile> before = ReadStateDict(std::string(kFolder) + "pretrain.pth");
  const absl::StatusOr<StateDictFile> after = ReadStateDict(std::string(kFolder) + "converted.pth");
  ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
  const absl::StatusOr<StateDict> converted = WeightConvert(before->tensors);
  ASSERT_TRUE(converted.ok()) << converted.status();
  ASSERT_EQ(converted->size(), after->tensors.size());
  for (size_t i = 0; i < converted->size(); ++i) {
    const auto& [name, tensor] = converted->entries()[i];
    const auto& [expected_name, expected] = after->tensors.entries()[i];
    EXPECT_EQ(name, expected_name);
    if (name != "cls_token") {
      EXPECT_TRUE(BitEqual(tensor, expected)) << name;
      continue;
    }
    ASSERT_EQ(tensor.shape, expected.shape);
    const std::vector<float> own = tensor.Values<float>(), theirs = expected.Values<float>();
    for (size_t c = 0; c < own.size(); ++c) EXPECT_LE(std::abs(own[c] - theirs[c]), kTokenTolerance) << c;
  }
}

TEST(WeightConvertTest, ListsEverythingThatDoesNotFit) {
  const absl::StatusOr<StateDictFile> file = ReadStateDict(std::string(kFolder) + "pretrain.pth");
  ASSERT_TRUE(file.ok());
  StateDict changed;
  for (const auto& [name, tensor] : file->tensors) {
    if (name == "blocks.1.norm1.bias" || name == "cls_token_mlp.fc2.bias") continue;
    const std::string to = name == "blocks.0.mlp.fc1.bias" ? "blocks.0.mlp.fcl.bias" : name;
    const bool cut = name == "blocks.2.attn.qkv.bias";
    ASSERT_TRUE(changed.Add(to, cut ? TensorView::FromFloats({2}, {1, 2}) : tensor).ok());
  }
  const absl::Status status = WeightConvert(changed).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"5 tensors", "blocks.1.norm1.bias is missing", "cls_token_mlp.fc2.bias is missing",
                           "blocks.0.mlp.fc1.bias is missing (there is blocks.0.mlp.fcl.bias)",
                           "blocks.0.mlp.fcl.bias is unexpected", "blocks.2.attn.qkv.bias has shape [2]"}) {
    EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << part << "\n" << status;
  }
}

TEST(WeightConvertTest, HalvesFloatsAndNothingElse) {
  StateDict tensors;
  ASSERT_TRUE(tensors.Add("a", TensorView::FromFloats({3}, {1, 0.1f, 70000})).ok());
  ASSERT_TRUE(tensors.Add("n", TensorView::Copy(DType::kUint8, {2}, "ab")).ok());
  const StateDict half = CastAll(tensors, DType::kFloat16);
  EXPECT_EQ(half.Find("a")->dtype, DType::kFloat16);
  EXPECT_EQ(FloatsOf(*half.Find("a")), (std::vector<float>{1, 0.0999755859375f, INFINITY}));
  EXPECT_TRUE(BitEqual(*half.Find("n"), *tensors.Find("n")));
}

}  // namespace
}  // namespace tec
