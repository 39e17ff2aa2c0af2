#include "tec/run/run_clock.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cmath>

#include "gtest/gtest.h"

namespace {
// Added to the time of day, seconds.
std::atomic<int64_t> time_of_day_shift{0};
}  // namespace

// Stands before the C library's in this program.
extern "C" int clock_gettime(clockid_t clock, struct timespec* time) {
  const long result = syscall(SYS_clock_gettime, clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += time_of_day_shift;
  return static_cast<int>(result);
}

namespace tec {
namespace {

TEST(RunClockTest, AClockSetBackOrForthChangesNoSpan) {
  RunClock clock([] { return 0; });
  clock.Start(RunClock::kRun);
  for (const int64_t shift : {-86400, 86400}) {
    const time_t before = time(nullptr);
    timespec shifted;
    time_of_day_shift = shift;
    ASSERT_EQ(clock_gettime(CLOCK_REALTIME, &shifted), 0);
    ASSERT_LT(std::abs(shifted.tv_sec - before - shift), 80000);  // The shift is seen ...
    const double seconds = clock.Since(RunClock::kRun).seconds;
    EXPECT_GT(seconds, 1e-9);  // ... and what Since puts for a span of nothing or less is not.
    EXPECT_LT(seconds, 80000);
  }
  time_of_day_shift = 0;
}

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

TEST(RunClockTest, TheRateIsTheLastMinutes) {
  double now = 1000, waited = 0;
  RunClock clock([&waited] { return waited; }, [&now] { return now; });
  clock.Start(RunClock::kRun);
  const auto step = [&](double seconds) {
    clock.Start(RunClock::kStep);
    now += seconds;
    clock.CountStep();
    clock.EndStep();
  };
  // Slow at first: two steps in 200 s.
  step(100);
  step(100);
  EXPECT_EQ(clock.Recent().steps, 1);
  EXPECT_DOUBLE_EQ(clock.Recent().seconds, 100);
  // Then 4 a second, for two minutes.
  for (int i = 0; i < 480; ++i) step(0.25);
  EXPECT_NEAR(static_cast<double>(clock.Recent().steps) / clock.Recent().seconds, 4, 0.01);
  EXPECT_GE(clock.Recent().seconds, 60);
  EXPECT_LT(clock.Recent().seconds, 62);
  EXPECT_NEAR(clock.Since(RunClock::kRun).steps / clock.Since(RunClock::kRun).seconds, 482 / 320.0, 0.01);
}

}  // namespace
}  // namespace tec
