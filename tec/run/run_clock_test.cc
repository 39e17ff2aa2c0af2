#include "tec/run/run_clock.h"

#include <cmath>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(RunClockTest, PeriodsBeginWithTheLongerOnes) {
  double waited = 0;
  RunClock clock([&waited] { return waited; });
  EXPECT_TRUE(std::isnan(clock.step_wait()));
  clock.Start(RunClock::kRun);
  for (int step = 0; step < 3; ++step) {
    clock.Start(RunClock::kStep);
    waited += 0.5;
    clock.CountStep();
    if (step == 1) clock.Start(RunClock::kUpdate);
    clock.EndStep();
  }
  EXPECT_EQ(clock.Since(RunClock::kRun).steps, 3);
  EXPECT_EQ(clock.Since(RunClock::kEpoch).waited, 1.5);
  EXPECT_EQ(clock.Since(RunClock::kUpdate).steps, 1);
  EXPECT_EQ(clock.Since(RunClock::kUpdate).waited, 0.5);
  // Starting an update in the middle of a step leaves the step alone.
  EXPECT_EQ(clock.step_wait(), 0.5);
  clock.Start(RunClock::kEpoch);
  EXPECT_EQ(clock.Since(RunClock::kRun).steps, 3);
  EXPECT_EQ(clock.Since(RunClock::kEpoch).steps, 0);
  EXPECT_EQ(clock.Since(RunClock::kUpdate).waited, 0);
  EXPECT_GT(clock.Since(RunClock::kUpdate).seconds, 0);
}

}  // namespace
}  // namespace tec
