#include "tools/contact_sheet/contact_sheet.h"

#include <cstring>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(ContactSheetTest, TilesLieRowByRow) {
  std::vector<Image> tiles;
  for (int i = 0; i < 3; ++i) {
    tiles.emplace_back(2, 5);
    std::memset(tiles.back().data(), 10 + i, tiles.back().size_bytes());
  }
  const Image sheet = ContactSheet(tiles, 2);
  ASSERT_EQ(sheet.height(), 2 * (2 + 4) + 4);
  ASSERT_EQ(sheet.width(), 2 * (5 + 4) + 4);
  EXPECT_EQ(sheet.at(4, 4, 0), 10);
  EXPECT_EQ(sheet.at(5, 8, 2), 10);
  EXPECT_EQ(sheet.at(4, 13, 0), 11);
  EXPECT_EQ(sheet.at(10, 4, 0), 12);
  for (const auto& [y, x] : {std::pair{3, 4}, {6, 4}, {4, 9}, {10, 13}, {15, 21}}) EXPECT_EQ(sheet.at(y, x, 1), 96);
  EXPECT_EQ(ContactSheet(tiles, 9).width(), 3 * (5 + 4) + 4);
}

}  // namespace
}  // namespace tec
