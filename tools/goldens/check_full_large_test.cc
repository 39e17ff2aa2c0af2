// ViT-L/16 at its real size against the reference: 405 million parameters and their gradients, some 6 GB.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(FullSizeGoldensTest, Large) { ExpectGolden("full_large", CheckFullSize); }

}  // namespace
}  // namespace tec
