#include "tec/nn/masking.h"

#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

TEST(RandomMaskingTest, KeepsTheEarlierOfEqualNoise) {
  const Masking masking = RandomMasking(at::zeros({1, 300}), 0.99);
  EXPECT_EQ(masking.ids_keep[0][0].item<int64_t>(), 0);
  EXPECT_EQ(masking.ids_keep[0][2].item<int64_t>(), 2);
}

TEST(MaskingNoiseTest, IsAFunctionOfTheSampleNotOfTheBatch) {
  const at::Tensor both = MaskingNoise(5, 2, std::vector<int64_t>{7, 3}, 49);
  const at::Tensor one = MaskingNoise(5, 2, std::vector<int64_t>{3}, 49);
  EXPECT_TRUE(BitEqual(both.slice(0, 1), one));
  EXPECT_FALSE(BitEqual(both.slice(0, 0, 1), one));
  EXPECT_FALSE(BitEqual(MaskingNoise(5, 3, std::vector<int64_t>{3}, 49), one));
  EXPECT_FALSE(BitEqual(MaskingNoise(6, 2, std::vector<int64_t>{3}, 49), one));
}

TEST(MaskingNoiseTest, IsUniform) {
  const at::Tensor noise = MaskingNoise(1, 0, std::vector<int64_t>{1, 2, 3, 4}, 2500);
  EXPECT_GE(noise.min().item<double>(), 0);
  EXPECT_LT(noise.max().item<double>(), 1);
  // Mean of 10,000 draws: standard error 0.0029.
  EXPECT_NEAR(noise.mean().item<double>(), 0.5, 5 * 0.0029);
  EXPECT_NEAR(noise.var().item<double>(), 1.0 / 12, 0.005);
}

TEST(RandomMaskingDeathTest, RefusesARatioThatKeepsNothing) {
  EXPECT_DEATH(RandomMasking(at::zeros({1, 16}), 1.0), "not in \\[0, 1\\)");
}

}  // namespace
}  // namespace tec
