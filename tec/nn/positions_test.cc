#include "tec/nn/positions.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

TEST(SinCosPositionsTest, LeavesTheClassTokenAlone) {
  EXPECT_TRUE(BitEqual(SinCosPositions(16, 3).select(1, 0), at::zeros({1, 16})));
}

TEST(InterpolatePositionsTest, KeepsATableOfTheSameGrid) {
  const at::Tensor table = at::arange(80, at::kFloat).view({1, 10, 8});
  EXPECT_TRUE(BitEqual(InterpolatePositions(table, 3), table));
}

}  // namespace
}  // namespace tec
