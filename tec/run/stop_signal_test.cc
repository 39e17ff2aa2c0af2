#include "tec/run/stop_signal.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(StopSignalTest, FirstSignalIsKept) {
  StopSignal stop;
  EXPECT_EQ(stop.received(), 0);
  raise(SIGTERM);
  EXPECT_EQ(stop.received(), SIGTERM);
}

TEST(StopSignalTest, StartsAfresh) {
  {
    StopSignal stop;
    raise(SIGINT);
  }
  StopSignal stop;
  EXPECT_EQ(stop.received(), 0);
}

TEST(StopSignalDeathTest, SecondSignalEndsAtOnce) {
  EXPECT_EXIT(
      {
        StopSignal stop;
        raise(SIGINT);
        raise(SIGINT);
      },
      testing::ExitedWithCode(128 + SIGINT), "once more to stop at once");
}

TEST(StopSignalDeathTest, FormerHandlersAreRestored) {
  EXPECT_EXIT(
      {
        { StopSignal stop; }
        raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace tec
