#include "tec/nn/masking.h"

#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/where.h"
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

TEST(BlockMaskingNoiseTest, RemovesRectanglesOfNeighbours) {
  const std::vector<int64_t> samples = {7, 3, 1, 0, 12, 8, 5, 2};
  const int64_t grid = 14, patches = grid * grid, visible = VisiblePatches(patches, 0.6);
  const at::Tensor noise = BlockMaskingNoise(5, 2, samples, grid, 0.6);
  // At least as many as are to be removed are covered, and the rest is what MaskingNoise says.
  const at::Tensor covered = noise.ge(1);
  EXPECT_GE(covered.sum(1).min().item<int64_t>(), patches - visible);
  EXPECT_TRUE(at::where(covered, noise - 1, noise).allclose(MaskingNoise(5, 2, samples, patches), 0, 1e-6));
  EXPECT_TRUE(BitEqual(noise.slice(0, 1, 2), BlockMaskingNoise(5, 2, std::vector<int64_t>{3}, grid, 0.6)));
  // Neighbours in a row are alike more often than by chance: 0.52 of pairs at a ratio of 0.6.
  const at::Tensor mask = RandomMasking(noise, 0.6).mask.view({-1, grid, grid});
  EXPECT_EQ(mask.sum({1, 2}).min().item<double>(), static_cast<double>(patches - visible));
  EXPECT_GT(mask.slice(2, 1).eq(mask.slice(2, 0, grid - 1)).to(at::kFloat).mean().item<double>(), 0.7);
}

TEST(GuidedNoiseTest, RemovesTheRelevantRather) {
  const std::vector<int64_t> samples = {0, 1, 2, 3, 4, 5, 6, 7};
  const at::Tensor noise = MaskingNoise(5, 2, samples, 100);
  const at::Tensor relevance = at::arange(100, at::kFloat).neg().expand({8, 100});
  const at::Tensor mask = RandomMasking(GuidedNoise(noise, relevance), 0.75).mask;
  const double most = mask.slice(1, 0, 25).mean().item<double>(), least = mask.slice(1, 75).mean().item<double>();
  EXPECT_GT(most, 0.9);
  EXPECT_LT(least, 0.6);
  EXPECT_GT(least, 0);  // Not in strict order.
}

TEST(RandomMaskingDeathTest, RefusesARatioThatKeepsNothing) {
  EXPECT_DEATH(RandomMasking(at::zeros({1, 16}), 1.0), "not in \\[0, 1\\)");
}

}  // namespace
}  // namespace tec
