// What follows from a formula alone, against the reference.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(TableGoldensTest, Schedules) { ExpectGolden("schedules", CheckSchedules); }
TEST(TableGoldensTest, Positions) { ExpectGolden("pos_embed", CheckPositions); }
TEST(TableGoldensTest, Masking) { ExpectGolden("masking", CheckMasking); }
TEST(TableGoldensTest, MaskingKept) { ExpectGolden("masking_kept", CheckMaskingKept); }
TEST(TableGoldensTest, LayerDecay) { ExpectGolden("layer_decay_groups", CheckLayerDecay); }

}  // namespace
}  // namespace tec
