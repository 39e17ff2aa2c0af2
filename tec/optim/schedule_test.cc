#include "tec/optim/schedule.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(ScheduleTest, StartsAtZeroAndEndsAtTheMinimum) {
  const ScheduleOptions options = {1e-3, 1e-5, 5, 50};
  EXPECT_EQ(LearningRate(options, 0), 0);
  EXPECT_DOUBLE_EQ(LearningRate(options, 5), 1e-3);
  EXPECT_DOUBLE_EQ(LearningRate(options, 50), 1e-5);
  // Without warm-up the first update has the full rate.
  EXPECT_EQ(LearningRate({1e-3, 0, 0, 50}, 0), 1e-3);
}

}  // namespace
}  // namespace tec
