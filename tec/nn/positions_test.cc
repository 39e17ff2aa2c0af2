#include "tec/nn/positions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/randn.h"
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
  for (PositionInterpolation how :
       {PositionInterpolation::kPlain, PositionInterpolation::kOffset, PositionInterpolation::kAntialias}) {
    EXPECT_TRUE(BitEqual(InterpolatePositions(table, 3, how), table));
  }
}

// Keys' cubic.
double Cubic(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// What the old_grid entries of a line weigh in entry `i` of a line of `grid`.
std::vector<double> Weights(int64_t i, int64_t old_grid, int64_t grid, PositionInterpolation how) {
  std::vector<double> weights(old_grid);
  const double step = old_grid / (grid + (how == PositionInterpolation::kOffset ? 0.1 : 0.0)),
               centre = (i + 0.5) * step - 0.5;
  if (how == PositionInterpolation::kAntialias) {
    // Beyond the edge there is nothing; the rest is brought to the sum one.
    double sum = 0;
    for (int64_t k = 0; k < old_grid; ++k) sum += weights[k] = Cubic((k - centre) / std::max(step, 1.0), -0.5);
    for (double& weight : weights) weight /= sum;
    return weights;
  }
  // Beyond the edge its entry goes on.
  for (int64_t k = -3; k < old_grid + 3; ++k) {
    weights[std::clamp<int64_t>(k, 0, old_grid - 1)] += Cubic(k - centre, -0.75);
  }
  return weights;
}

TEST(InterpolatePositionsTest, EachWayHasItsWeights) {
  constexpr int64_t kWidth = 2;
  constexpr double kFloatRounding = 1e-5;
  for (const auto& [old_grid, grid] : {std::pair<int64_t, int64_t>{4, 7}, {7, 3}, {5, 4}}) {
    const at::Tensor table = at::randn({1, 1 + old_grid * old_grid, kWidth});
    for (PositionInterpolation how :
         {PositionInterpolation::kPlain, PositionInterpolation::kOffset, PositionInterpolation::kAntialias}) {
      const at::Tensor result = InterpolatePositions(table, grid, how);
      EXPECT_TRUE(BitEqual(result.select(1, 0), table.select(1, 0)));
      const float *in = table.data_ptr<float>() + kWidth, *out = result.data_ptr<float>() + kWidth;
      for (int64_t y = 0; y < grid; ++y) {
        for (int64_t x = 0; x < grid; ++x, out += kWidth) {
          const std::vector<double> rows = Weights(y, old_grid, grid, how), columns = Weights(x, old_grid, grid, how);
          for (int64_t c = 0; c < kWidth; ++c) {
            double expected = 0;
            for (int64_t k = 0; k < old_grid * old_grid; ++k) {
              expected += rows[k / old_grid] * columns[k % old_grid] * in[k * kWidth + c];
            }
            EXPECT_NEAR(out[c], expected, kFloatRounding)
                << old_grid << " to " << grid << ", way " << static_cast<int>(how) << " at " << y << ", " << x;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tec
