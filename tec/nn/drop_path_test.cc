#include "tec/nn/drop_path.h"

#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

TEST(DropPathScaleTest, DropsASmallDrawAndScalesTheRestUp) {
  const at::Tensor scale = DropPathScale(at::tensor({0.0f, 0.24f, 0.26f, 0.99f}), 0.25);
  EXPECT_TRUE(testing::TensorNear(scale, at::tensor({0.0f, 0.0f, 1 / 0.75f, 1 / 0.75f}), 1e-6));
}

TEST(DropPathUniformsTest, AreAFunctionOfTheSample) {
  const at::Tensor both = DropPathUniforms(1, 2, std::vector<int64_t>{9, 4}, 3);
  ASSERT_EQ(both.sizes(), at::IntArrayRef({6, 2}));
  EXPECT_TRUE(BitEqual(both.slice(1, 1), DropPathUniforms(1, 2, std::vector<int64_t>{4}, 3)));
  EXPECT_FALSE(BitEqual(both.select(1, 0), both.select(1, 1)));
  EXPECT_FALSE(BitEqual(both.select(0, 0), both.select(0, 1)));  // The two branches draw apart.
}

// One table has the bits of a row after the other.
TEST(DropPathScalesTest, IsDropPathScaleOfEachRow) {
  const std::vector<double> rates = DropPathRates(0.3, 4);
  const std::vector<int64_t> samples = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  const at::Tensor uniforms = DropPathUniforms(/*seed=*/3, /*epoch=*/1, samples, 4);
  const at::Tensor scales = DropPathScales(uniforms, rates);
  for (int64_t row = 0; row < 8; ++row) {
    EXPECT_TRUE(testing::BitEqual(scales[row], DropPathScale(uniforms[row], rates[row / 2]))) << row;
  }
}

}  // namespace
}  // namespace tec
