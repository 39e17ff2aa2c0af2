#include "tec/base/look_alike.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(LookAlikeTest, TheSameLettersInBothForms) {
  EXPECT_TRUE(LookAlike("caf\xC3\xA9", "cafe\xCC\x81"));                           // U+00E9; e, U+0301.
  EXPECT_TRUE(LookAlike("Vi\xE1\xBB\x87t", "Vie\xCC\xA3\xCC\x82t"));               // Two marks.
  EXPECT_TRUE(LookAlike("\xE3\x81\x8C", "\xE3\x81\x8B\xE3\x82\x99"));              // Kana with a voice mark.
  EXPECT_TRUE(LookAlike("\xED\x95\x9C", "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"));  // A Korean syllable.
  EXPECT_FALSE(LookAlike("cafe", "cafe"));
  EXPECT_FALSE(LookAlike("caf\xC3\xA9", "caf\xC3\xA8"));  // Two different letters, both composed.
  EXPECT_FALSE(LookAlike("caf\xC3\xA9", "cafe"));
  EXPECT_FALSE(LookAlike("caf\xC3\xA9s", "cafe\xCC\x81"));
}

TEST(LookAlikeTest, FindsAPair) {
  EXPECT_EQ(FindLookAlikes({"ant", "bee", "caf\xC3\xA9"}, {"ant", "caf\xC3\xA9"}), "");
  const std::string pair = FindLookAlikes({"ant", "caf\xC3\xA9"}, {"ant", "cafe\xCC\x81"});
  EXPECT_NE(pair.find("caf\\xc3\\xa9) and cafe\xCC\x81 (cafe\\xcc\\x81)"), std::string::npos) << pair;
}

}  // namespace
}  // namespace tec
