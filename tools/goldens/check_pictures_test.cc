// Pixels against Pillow's.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(PictureGoldensTest, Images) { ExpectGolden("images", CheckImages); }
TEST(PictureGoldensTest, Resize) { ExpectGolden("resize", CheckResize); }
TEST(PictureGoldensTest, RandAugment) { ExpectGolden("randaugment", CheckRandAugment); }

}  // namespace
}  // namespace tec
