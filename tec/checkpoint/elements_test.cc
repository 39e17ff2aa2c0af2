#include "tec/checkpoint/elements.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(ElementsTest, RoundsToTheNearestTiesToEven) {
  // Halfway between two neighbours of each type, and just beside: the even one, the nearer one.
  const std::vector<float> values = {1 + 0x1p-11f, 1 + 3 * 0x1p-11f, 1 + 0x1p-11f + 0x1p-20f, 65504, 65520, -0.0f};
  const TensorView half = Cast(TensorView::FromFloats({6}, values), DType::kFloat16);
  EXPECT_EQ(FloatsOf(half), (std::vector<float>{1, 1 + 0x1p-9f, 1 + 0x1p-10f, 65504, INFINITY, 0}));
  EXPECT_TRUE(std::signbit(FloatsOf(half)[5]));

  const std::vector<float> wide = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 3e38f, std::numeric_limits<float>::max()};
  const TensorView bfloat = Cast(TensorView::FromFloats({2, 2}, wide), DType::kBFloat16);
  EXPECT_EQ(FloatsOf(bfloat), (std::vector<float>{1, 1 + 0x1p-6f, 0x1.c4p+127f, INFINITY}));
  EXPECT_EQ(bfloat.shape, (std::vector<int64_t>{2, 2}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(FloatsOf(Cast(TensorView::FromFloats({1}, {nan}), DType::kBFloat16))[0]));
  EXPECT_TRUE(std::isnan(FloatsOf(Cast(TensorView::FromFloats({1}, {nan}), DType::kFloat16))[0]));
}

TEST(ElementsTest, WideningIsExact) {
  const TensorView values = TensorView::FromFloats({3}, {0.1f, -2, 0x1p-149f});
  EXPECT_EQ(FloatsOf(Cast(Cast(values, DType::kFloat64), DType::kFloat32)), FloatsOf(values));
  const int16_t whole[] = {-3, 32767};
  EXPECT_EQ(DoublesOf(TensorView::Copy(DType::kInt16, {2}, {reinterpret_cast<const char*>(whole), sizeof(whole)})),
            (std::vector<double>{-3, 32767}));
}

}  // namespace
}  // namespace tec
