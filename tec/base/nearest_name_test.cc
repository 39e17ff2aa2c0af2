#include "tec/base/nearest_name.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(NearestNameTest, FindsSlipsAndPrefixesOnly) {
  const std::vector<std::string> names = {"norm.weight", "blocks.0.attn.qkv.weight", "cls_token"};
  EXPECT_EQ(NearestName("module.norm.weight", names), "norm.weight");
  EXPECT_EQ(NearestName("qkv.weight", names), "blocks.0.attn.qkv.weight");
  EXPECT_EQ(NearestName("cls_tokn", names), "cls_token");
  EXPECT_EQ(NearestName("head.bias", names), "");
  EXPECT_EQ(NearestName("cls_token", {}), "");
}

}  // namespace
}  // namespace tec
