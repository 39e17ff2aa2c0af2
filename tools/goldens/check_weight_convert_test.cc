// The reference's checkpoint and its conversion.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(WeightConvertGoldensTest, PretrainingCheckpoint) { ExpectGolden("weight_convert", CheckWeightConvert); }
TEST(WeightConvertGoldensTest, OfAnotherMlpRatio) {
  ExpectGolden("weight_convert", CheckWeightConvert, "tools/goldens/mlp_ratio");
}

}  // namespace
}  // namespace tec
