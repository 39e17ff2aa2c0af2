// Equality with the reference: tools/goldens/check_weight_convert.cc.

#include "tec/checkpoint/weight_convert.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/state_dict_file.h"

namespace tec {
namespace {

constexpr char kFolder[] = "tec/testing/goldens/weight_convert/";

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
  ASSERT_TRUE(tensors.Add("a", TensorView::FromFloats({3}, {1, 0.1f, -65504})).ok());
  ASSERT_TRUE(tensors.Add("n", TensorView::Copy(DType::kUint8, {2}, "ab")).ok());
  const absl::StatusOr<StateDict> cast = CastAll(tensors, DType::kFloat16);
  ASSERT_TRUE(cast.ok()) << cast.status();
  const StateDict& half = *cast;
  EXPECT_EQ(half.Find("a")->dtype, DType::kFloat16);
  EXPECT_EQ(FloatsOf(*half.Find("a")), (std::vector<float>{1, 0.0999755859375f, -65504}));
  EXPECT_TRUE(BitEqual(*half.Find("n"), *tensors.Find("n")));

  // What the type cannot hold is named; what was infinite before stays so.
  ASSERT_TRUE(tensors.Add("infinite", TensorView::FromFloats({1}, {INFINITY})).ok());
  EXPECT_TRUE(CastAll(tensors, DType::kFloat16).ok());
  ASSERT_TRUE(tensors.Add("large", TensorView::FromFloats({2, 2}, {1, 2, 70000, 3})).ok());
  EXPECT_TRUE(CastAll(tensors, DType::kBFloat16).ok());
  const std::string message(CastAll(tensors, DType::kFloat16).status().message());
  EXPECT_NE(message.find("as F16: large has 1 of 4 values that are not finite, the first inf at [1,0]"),
            std::string::npos)
      << message;
}

}  // namespace
}  // namespace tec
