#include "tec/run/matrix_rate.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(MatrixRateTest, IsAboveZeroAndEndsByItself) {
  const double rate = MatrixRate(c10::kCPU, c10::kFloat, 0);
  EXPECT_GT(rate, 1e6);   // The slowest processor that holds the matrices does more,
  EXPECT_LT(rate, 1e15);  // and no processor that much: two a multiply-add, seconds and not milliseconds.
}

TEST(MatrixRateTest, SaysWhatPartOfItAStepReaches) {
  EXPECT_EQ(RateText(100, 85e9, 34e12, c10::kFloat),
            "100 images/s, 8.5 TFLOP/s of the method's products: 25 % of the 34 that plain products of float32 reach "
            "here");
  EXPECT_EQ(
      RateText(2.5, 4e9, 1e11, c10::kBFloat16),
      "2.5 images/s, 0.01 TFLOP/s of the method's products: 10 % of the 0.1 that plain products of bfloat16 reach "
      "here");
}

}  // namespace
}  // namespace tec
