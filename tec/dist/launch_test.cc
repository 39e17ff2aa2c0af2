// Real processes: shells that say what they were given, end badly, or wait for a signal.

#include "tec/dist/launch.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

LaunchRequest Shell(const std::string& script, int ranks, const std::string& log) {
  LaunchRequest request;
  request.command = {"/bin/sh", "-c", script};
  request.ranks = ranks;
  request.log_file = absl::StrCat(std::getenv("TEST_TMPDIR"), "/", log);
  return request;
}

std::string Content(const std::string& path) {
  const absl::StatusOr<std::string> content = ReadFile(path);
  return content.ok() ? *content : content.status().ToString();
}

TEST(RunRanks, OneRankGetsNoLaunchersVariables) {
  const LaunchRequest request = Shell("echo rank=$RANK; echo oops >&2", 1, "one");
  const absl::StatusOr<int> code = RunRanks(request);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 0);
  EXPECT_EQ(Content(request.log_file), "rank=\noops\n");
}

TEST(RunRanks, EachRankKnowsItsPlaceAndHasItsLog) {
  const LaunchRequest request =
      Shell("echo $RANK $LOCAL_RANK of $WORLD_SIZE $LOCAL_WORLD_SIZE at $MASTER_ADDR; test $MASTER_PORT -gt 1023", 3,
            "three");
  const absl::StatusOr<int> code = RunRanks(request);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 0);
  EXPECT_EQ(Content(request.log_file), "0 0 of 3 3 at 127.0.0.1\n");
  EXPECT_EQ(Content(request.log_file + ".rank1"), "1 1 of 3 3 at 127.0.0.1\n");
  EXPECT_EQ(Content(request.log_file + ".rank2"), "2 2 of 3 3 at 127.0.0.1\n");
}

TEST(RunRanks, AFailureEndsTheOthers) {
  const absl::Time start = absl::Now();
  const absl::StatusOr<int> code = RunRanks(Shell("test $RANK = 1 && exit 7; sleep 1000", 3, "failure"));
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 7);
  EXPECT_LT(absl::Now() - start, absl::Seconds(500));  // Not the sleep.
}

TEST(RunRanks, ARankThatIgnoresSigtermIsKilled) {
  LaunchRequest request = Shell("test $RANK = 1 && exit 7; trap '' TERM; while :; do sleep 1; done", 2, "stubborn");
  request.grace = absl::Milliseconds(200);
  const absl::StatusOr<int> code = RunRanks(request);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 7);
}

TEST(RunRanks, PassesSignalsOnAndTellsOfAStop) {
  // Both ranks are up once rank 1 has written its file.
  const LaunchRequest request =
      Shell("trap 'exit 3' TERM; test $RANK = 1 && : > $TEST_TMPDIR/up; while :; do sleep 0.05; done", 2, "stop");
  std::thread sender([] {
    const std::string up = absl::StrCat(std::getenv("TEST_TMPDIR"), "/up");
    while (access(up.c_str(), F_OK) != 0) absl::SleepFor(absl::Milliseconds(10));
    kill(getpid(), SIGTERM);
  });
  const absl::StatusOr<int> code = RunRanks(request);
  sender.join();
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, kExitStopped);
}

// SIGUSR1 asks to save and go on: it is no request to stop.
TEST(RunRanks, PassesOnEverySignalThatRanksObey) {
  for (const int signal : {SIGINT, SIGHUP, SIGUSR1}) {
    const std::string up = absl::StrCat(std::getenv("TEST_TMPDIR"), "/up", signal);
    LaunchRequest request = Shell(
        absl::StrCat("trap 'echo got INT; exit 3' INT; trap 'echo got HUP; exit 3' HUP; ",
                     "trap 'echo got USR1; exit 0' USR1; test $RANK = 1 && : > ", up, "; while :; do sleep 0.05; done"),
        2, absl::StrCat("signal", signal));
    bool stop_requested = false;
    request.stop_requested = &stop_requested;
    std::thread sender([&up, signal] {
      while (access(up.c_str(), F_OK) != 0) absl::SleepFor(absl::Milliseconds(10));
      kill(getpid(), signal);
    });
    const absl::StatusOr<int> code = RunRanks(request);
    sender.join();
    ASSERT_TRUE(code.ok()) << code.status();
    EXPECT_EQ(*code, signal == SIGUSR1 ? kExitDone : kExitStopped);
    EXPECT_EQ(stop_requested, signal != SIGUSR1);
    const std::string expected = signal == SIGINT ? "got INT\n" : signal == SIGHUP ? "got HUP\n" : "got USR1\n";
    // The shell also tells of the "sleep" that the signal has ended.
    EXPECT_THAT(Content(request.log_file), HasSubstr(expected));
    EXPECT_THAT(Content(request.log_file + ".rank1"), HasSubstr(expected));
  }
}

TEST(RunRanks, AnIgnoredHangupStaysIgnored) {
  ::signal(SIGHUP, SIG_IGN);
  const LaunchRequest request = Shell("kill -HUP $PPID; kill -HUP $$; echo alive", 1, "nohup");
  const absl::StatusOr<int> code = RunRanks(request);
  ::signal(SIGHUP, SIG_DFL);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 0);
  EXPECT_EQ(Content(request.log_file), "alive\n");
}

TEST(RunRanks, TellsOfARequestThatTheRankDidNotHeed) {
  LaunchRequest request =
      Shell("trap 'exit 0' TERM; : > $TEST_TMPDIR/heedless; while :; do sleep 0.05; done", 1, "heedless");
  bool stop_requested = false;
  request.stop_requested = &stop_requested;
  std::thread sender([] {
    const std::string up = absl::StrCat(std::getenv("TEST_TMPDIR"), "/heedless");
    while (access(up.c_str(), F_OK) != 0) absl::SleepFor(absl::Milliseconds(10));
    kill(getpid(), SIGTERM);
  });
  const absl::StatusOr<int> code = RunRanks(request);
  sender.join();
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 0);
  EXPECT_TRUE(stop_requested);
}

TEST(RunRanks, NamesAProgramThatIsNotThere) {
  LaunchRequest request = Shell("", 1, "none");
  request.command = {"/no/such/program"};
  const absl::Status status = RunRanks(request).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such/program"));
}

// Of a FIFO that nobody reads: nobody waits for who never comes, and no rank is left.
TEST(RunRanks, ALogThatIsAFifoHoldsNobodyUp) {
  for (const char* log : {"", ".rank1"}) {
    SCOPED_TRACE(log);
    const LaunchRequest request = Shell("sleep 1000", 2, absl::StrCat("fifo", log[0] == '\0' ? "" : "_of_rank"));
    ASSERT_EQ(mkfifo((request.log_file + log).c_str(), 0600), 0);
    const absl::Status status = RunRanks(request).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("cannot write ", request.log_file, log, ": ")));
  }
}

TEST(RunRanks, AKilledRankCountsAsAFailure) {
  const absl::StatusOr<int> code = RunRanks(Shell("kill -9 $$", 1, "killed"));
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 128 + SIGKILL);
}

TEST(ShellCommand, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(ShellCommand({"a/b", "--x=1e-3", "two words", "", "it's"}), "a/b --x=1e-3 'two words' '' 'it'\\''s'");
}

}  // namespace
}  // namespace tec
