#include "tec/run/meter.h"

#include <cmath>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(MeterTest, MedianIsTheLowerMiddleOfTheNewestTwenty) {
  Meter meter;
  for (int i = 1; i <= 4; ++i) meter.Add(10 * i);
  EXPECT_EQ(meter.Median(), 20);
  meter.Add(50);
  EXPECT_EQ(meter.Median(), 30);
  for (int i = 0; i < 20; ++i) meter.Add(i);
  EXPECT_EQ(meter.Median(), 9);  // 10 ... 50 have left the window.
}

TEST(MeterTest, MeanCoversEverything) {
  Meter meter(2);
  for (double value : {1.0, 2.0, 6.0}) meter.Add(value);
  EXPECT_EQ(meter.Mean(), 3);
  EXPECT_EQ(meter.count(), 3);
}

TEST(MeterTest, RestoredSumsCount) {
  Meter meter;
  meter.Restore(30, 3);
  meter.Add(2);
  EXPECT_EQ(meter.Mean(), 8);
  EXPECT_EQ(meter.Median(), 2);
}

TEST(MeterTest, EmptyIsNotANumber) {
  Meter meter;
  EXPECT_TRUE(std::isnan(meter.Mean()));
  EXPECT_TRUE(std::isnan(meter.Median()));
}

}  // namespace
}  // namespace tec
