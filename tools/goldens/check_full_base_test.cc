// ViT-B/16 at its real size against the reference.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(FullSizeGoldensTest, Base) { ExpectGolden("full_base", CheckFullSize); }

}  // namespace
}  // namespace tec
