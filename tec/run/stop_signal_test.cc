#include "tec/run/stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "tec/base/exit_code.h"

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

TEST(StopSignalTest, AHangUpAsksForAnEndUnlessItIsIgnored) {
  {
    StopSignal stop;
    raise(SIGHUP);
    EXPECT_EQ(stop.received(), SIGHUP);
  }
  signal(SIGHUP, SIG_IGN);  // As nohup does.
  StopSignal stop;
  raise(SIGHUP);
  EXPECT_EQ(stop.received(), 0);
  signal(SIGHUP, SIG_DFL);
}

// A reader that goes away, as "| head" does after ten lines.
TEST(StopSignalTest, AClosedOutputAsksForAnEndOnce) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  StopSignal stop;
  for (int line = 0; line < 3; ++line) EXPECT_EQ(write(ends[1], "line\n", 5), -1);
  EXPECT_EQ(stop.received(), SIGPIPE);
  close(ends[1]);
}

// A limit on processor time tells of itself every second.
TEST(StopSignalTest, ALimitOfTheSystemAsksForAnEndOnceAndIsNoFirstRequestOfTheUser) {
  StopSignal stop;
  for (int second = 0; second < 3; ++second) raise(SIGXCPU);
  EXPECT_EQ(stop.received(), SIGXCPU);
  raise(SIGTERM);
  EXPECT_EQ(stop.received(), SIGTERM);
}

TEST(StopSignalTest, UserSignalsAskForSavesAlone) {
  StopSignal stop;
  raise(SIGUSR1);
  raise(SIGUSR1);
  EXPECT_EQ(stop.save_requests(), 2);
  EXPECT_EQ(stop.received(), 0);
}

TEST(StopSignalDeathTest, BeforeTheRanksHaveMetASignalEndsTheProcess) {
  const auto wait = [](bool before) {
    StopSignal stop;
    if (before) raise(SIGTERM);
    stop.set_ends_at_once(true);
    raise(SIGTERM);
  };
  EXPECT_EXIT(wait(false), testing::ExitedWithCode(kExitStopped), "before the ranks had met");
  EXPECT_EXIT(wait(true), testing::ExitedWithCode(kExitStopped), "before the ranks had met");
  StopSignal stop;
  stop.set_ends_at_once(true);
  stop.set_ends_at_once(false);
  raise(SIGTERM);
  EXPECT_EQ(stop.received(), SIGTERM);
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
