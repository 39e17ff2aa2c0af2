// Rotary positions as multiplications of complex numbers, and what they are for: only distances count.

#include "tec/nn/rotary.h"

#include <cmath>
#include <complex>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

// Values of order one, products of two of them.
constexpr double kTolerance = 1e-6;

at::Tensor Wave(at::IntArrayRef sizes, double frequency) {
  int64_t n = 1;
  for (int64_t size : sizes) n *= size;
  return (at::arange(n, at::kDouble) * frequency).cos().to(at::kFloat).view(sizes);
}

TEST(RotaryGridTest, PlacesPatchesAsEachProjectDoes) {
  // DINOv3: centres of the patches in [-1, 1], periods 100^(k / count) of a whole turn.
  const RotaryGrid dinov3 = {0.5, 2, -1, RotaryFrequencies(100, 2, 2 * M_PI)};
  const std::vector<double> angles = RotaryAngles(dinov3, 4);
  ASSERT_EQ(angles.size(), 16u * 4);
  const double* last = &angles[15 * 4];  // Row 3, column 3.
  EXPECT_NEAR(last[0], 2 * M_PI * 0.75, 1e-12);
  EXPECT_NEAR(last[1], 2 * M_PI * 0.75 / 10, 1e-12);
  EXPECT_NEAR(angles[4 + 0], 2 * M_PI * -0.75, 1e-12);  // Row 0, column 1: rows first.
  EXPECT_NEAR(angles[4 + 2], 2 * M_PI * -0.25, 1e-12);
  // EVA-02 at half the size of its pretraining: every other number.
  EXPECT_NEAR(RotaryAngles({0, 8, 0, {1.0}}, 4)[2 * 3 + 1], 6, 1e-12);
  // Numbers from 1 whatever the size.
  EXPECT_NEAR(RotaryAngles({1, 0, 0, {1.0}}, 4)[2 * 3 + 1], 4, 1e-12);
}

TEST(RotaryTest, MultipliesByComplexNumbers) {
  const RotaryGrid grid = {0, 5, 0, RotaryFrequencies(30, 2)};
  const Rotary rotary(grid, 3);
  const int64_t others = 2, d = 8;
  const at::Tensor x = Wave({2, 3, others + 9, d}, 0.61), y = rotary.forward(x);
  EXPECT_TRUE(BitEqual(y.slice(2, 0, others), x.slice(2, 0, others)));
  const std::vector<double> angles = RotaryAngles(grid, 3);
  for (int64_t patch = 0; patch < 9; ++patch) {
    for (int64_t k = 0; k < d / 2; ++k) {
      const at::Tensor before = x[1][2][others + patch], after = y[1][2][others + patch];
      const std::complex<double> turned =
          std::complex<double>(before[k].item<double>(), before[k + d / 2].item<double>()) *
          std::polar(1.0, angles[patch * d / 2 + k]);
      EXPECT_NEAR(after[k].item<double>(), turned.real(), kTolerance);
      EXPECT_NEAR(after[k + d / 2].item<double>(), turned.imag(), kTolerance);
    }
  }
}

TEST(RotaryTest, MakesProductsAFunctionOfTheDistance) {
  const Rotary rotary({0, 0, 0, RotaryFrequencies(100, 2)}, 4);
  const at::Tensor q = Wave({1, 1, 1, 8}, 0.3).expand({1, 1, 16, 8}), k = Wave({1, 1, 1, 8}, 0.9).expand({1, 1, 16, 8});
  const at::Tensor logits = at::matmul(rotary.forward(q)[0][0], rotary.forward(k)[0][0].t());
  EXPECT_NEAR(logits[0][6].item<double>(), logits[9][15].item<double>(), 10 * kTolerance);  // One down, two right.
  EXPECT_GT(std::abs(logits[0][6].item<double>() - logits[0][9].item<double>()), 1e-2);     // Two down, one right.
}

TEST(RotaryTest, KeepsTheDtype) {
  const Rotary rotary({0, 0, 0, {1.0}}, 2);
  EXPECT_EQ(rotary.forward(at::zeros({1, 1, 5, 4}, at::kBFloat16)).scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace tec
