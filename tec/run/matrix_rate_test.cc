#include "tec/run/matrix_rate.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace {

// Calls that take so long each by a clock of its own, the last of them again and again; how many there were.
struct Timings {
  double Rate(double work, double seconds) {
    return BestRate(
        work, seconds, [this] { now += durations[std::min(calls++, durations.size() - 1)]; }, [this] { return now; });
  }
  std::vector<double> durations;
  size_t calls = 0;
  double now = 100;
};

TEST(BestRateTest, IsThatOfTheShortestTiming) {
  Timings timings = {{2, 0.5, 4, 1}};
  EXPECT_EQ(timings.Rate(10, 7), 20);
  EXPECT_EQ(timings.calls, 4u);  // The third ended after 6.5 seconds: one more was due.
}

TEST(BestRateTest, TakesAFewTimingsHoweverLongTheyAre) {
  Timings timings = {{8, 8, 4, 1}};
  EXPECT_EQ(timings.Rate(10, 0), 2.5);
  EXPECT_EQ(timings.calls, static_cast<size_t>(kLeastTimings));
}

TEST(ProductRateTest, CountsTwoAMultiplyAdd) {
  const double rate = ProductRate(c10::kCPU, c10::kFloat, {512, 256, 384}, 0);
  EXPECT_GT(rate, 1e6);   // The slowest processor that holds the matrices does more,
  EXPECT_LT(rate, 1e15);  // and no processor that much: seconds and not milliseconds.
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
