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

TEST(NearestNameTest, ComparesNoNamesOfAMillionLetters) {
  const std::string million(1'000'000, 'x');
  // 10^12 steps, were they compared.
  EXPECT_EQ(NearestName(million + "y", {million + "z", million.substr(1) + "z"}), "");
  EXPECT_EQ(NearestName("module." + million, {million}), million);
  const std::string hundred(100, 'x');
  EXPECT_EQ(NearestName(hundred + "y", {"x", hundred + "z"}), hundred + "z");
}

}  // namespace
}  // namespace tec
