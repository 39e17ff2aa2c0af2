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
  ASSERT_TRUE(tensors.Add("a", TensorView::FromFloats({3}, {1, 0.1f, 70000})).ok());
  ASSERT_TRUE(tensors.Add("n", TensorView::Copy(DType::kUint8, {2}, "ab")).ok());
  const StateDict half = CastAll(tensors, DType::kFloat16);
  EXPECT_EQ(half.Find("a")->dtype, DType::kFloat16);
  EXPECT_EQ(FloatsOf(*half.Find("a")), (std::vector<float>{1, 0.0999755859375f, INFINITY}));
  EXPECT_TRUE(BitEqual(*half.Find("n"), *tensors.Find("n")));
}

}  // namespace
}  // namespace tec
