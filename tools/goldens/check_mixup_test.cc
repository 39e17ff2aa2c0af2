// Mixed batches against timm's.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(MixupGoldensTest, Batches) { ExpectGolden("mixup", CheckMixup); }

}  // namespace
}  // namespace tec
