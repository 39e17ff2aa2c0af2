// Ranks as threads of this process where all behave, as processes where one is killed or stopped.

#include "tec/dist/lifeline.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/dist/launch.h"
#include "tec/dist/socket.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

LifelineOptions Options(int world_size, int port, double timeout_seconds = 60) {
  LifelineOptions options;
  options.world_size = world_size;
  options.address = "127.0.0.1";
  options.port = port;
  options.one_machine = true;
  options.timeout_seconds = timeout_seconds;
  return options;
}

using Body = std::function<absl::Status(Lifeline& line)>;
using Change = std::function<void(LifelineOptions* options, absl::Status* own)>;

// What each rank ends with.
std::vector<absl::Status> RunThreads(
    int world_size, const Body& body, const Change& change = [](LifelineOptions*, absl::Status*) {},
    double timeout_seconds = 60) {
  const int port = *FreePort();
  std::vector<absl::Status> results(world_size, absl::UnknownError("not run"));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      LifelineOptions options = Options(world_size, port, timeout_seconds);
      options.rank = rank;
      absl::Status own;
      change(&options, &own);
      const auto line = Lifeline::Meet(options, own);
      results[rank] = line.ok() ? body(**line) : line.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

// Exit codes of ranks that are processes: 0, 1 with a text on standard error, or minus a signal. `meanwhile` has their
// process ids once all have met.
std::vector<int> RunProcesses(int world_size, double timeout_seconds, const std::function<std::string(Lifeline&)>& body,
                              const std::function<void(const std::vector<pid_t>&)>& meanwhile) {
  const int port = *FreePort();
  int met[2];
  EXPECT_EQ(pipe(met), 0);
  std::vector<pid_t> children;
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      LifelineOptions options = Options(world_size, port, timeout_seconds);
      options.rank = rank;
      std::string problem;
      {
        auto line = Lifeline::Meet(options);
        (void)!write(met[1], "x", 1);
        problem = line.ok() ? body(**line) : line.status().ToString();
      }
      if (!problem.empty()) std::fprintf(stderr, "rank %d: %s\n", rank, problem.c_str());
      _exit(problem.empty() ? 0 : 1);
    }
    children.push_back(child);
  }
  char byte;
  for (int rank = 0; rank < world_size; ++rank) EXPECT_EQ(read(met[0], &byte, 1), 1);
  meanwhile(children);
  std::vector<int> codes;
  for (const pid_t child : children) {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  close(met[0]);
  close(met[1]);
  return codes;
}

std::string Expect(const absl::Status& status, const std::string& part) {
  return !status.ok() && absl::StrContains(status.message(), part) ? "" : status.ToString();
}

TEST(LifelineTest, GathersInOrderOfRanks) {
  const auto results = RunThreads(4, [](Lifeline& line) -> absl::Status {
    for (int call = 0; call < 50; ++call) {
      const auto texts = line.Gather(absl::StrCat("r", line.rank(), " ", call), "texts");
      if (!texts.ok()) return texts.status();
      for (int rank = 0; rank < 4; ++rank) {
        if ((*texts)[rank] != absl::StrCat("r", rank, " ", call)) return absl::DataLossError((*texts)[rank]);
      }
    }
    if (line.peers().size() != 4 || line.peers()[3].host != HostName()) return absl::DataLossError("peers");
    // Of this machine nothing but the loopback device was used.
    return line.peers()[2].address.empty() ? absl::OkStatus() : absl::DataLossError(line.peers()[2].address);
  });
  for (const absl::Status& status : results) EXPECT_TRUE(status.ok()) << status;
}

TEST(LifelineTest, AFailureReachesWhoeverWaitsWithItsText) {
  const auto results = RunThreads(3, [](Lifeline& line) -> absl::Status {
    if (line.rank() == 2) {
      line.Fail(absl::ResourceExhaustedError("the disk is full"));
      return line.failure();
    }
    return line.Gather("", "waiting").status();
  });
  EXPECT_EQ(results[2], absl::ResourceExhaustedError("the disk is full"));
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(absl::IsResourceExhausted(results[rank])) << results[rank];
    EXPECT_EQ(results[rank].message(), absl::StrCat("rank 2 (", HostName(), "): the disk is full"));
  }
}

// Rank 0's, and another one's, who have nothing but an error to bring.
TEST(LifelineTest, LastWordsAreHeardAtTheMeeting) {
  for (const int bad : {0, 2}) {
    const auto results = RunThreads(
        3, [](Lifeline& line) { return line.Gather("", "never").status(); },
        [bad](LifelineOptions* options, absl::Status* own) {
          if (options->rank == bad) *own = absl::NotFoundError("no such device");
          if (options->rank == 1) absl::SleepFor(absl::Milliseconds(500));  // Comes later.
        });
    for (int rank = 0; rank < 3; ++rank) {
      EXPECT_TRUE(absl::IsNotFound(results[rank])) << results[rank];
      EXPECT_THAT(std::string(results[rank].message()), HasSubstr("no such device"));
      const std::string name = rank == bad ? "" : absl::StrCat("rank ", bad, " (");
      EXPECT_THAT(std::string(results[rank].message()), HasSubstr(name));
    }
  }
}

TEST(LifelineTest, WhoDoesNotComeIsNamed) {
  const int port = *FreePort();
  LifelineOptions options = Options(3, port, 2);
  options.say_after_seconds = 0.5;
  ::testing::internal::CaptureStderr();
  std::thread other([options]() mutable {
    options.rank = 2;
    const absl::Status status = Lifeline::Meet(options).status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  });
  const absl::Status status = Lifeline::Meet(options).status();
  other.join();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(status.message(),
            absl::StrCat("rank 1 of 3 did not come to 127.0.0.1:", port, " within 2 s (--dist_timeout)"));
  EXPECT_THAT(log, HasSubstr(absl::StrCat("waiting for rank 1 of 3 at 127.0.0.1:", port)));
}

TEST(LifelineTest, RankZeroIsWaitedForByName) {
  LifelineOptions options = Options(2, *FreePort(), 1.5);
  options.rank = 1;
  options.say_after_seconds = 0.2;
  ::testing::internal::CaptureStderr();
  const absl::Status status = Lifeline::Meet(options).status();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1: rank 0 of 2 does not answer at 127.0.0.1:"));
  EXPECT_THAT(log, HasSubstr(absl::StrCat("waiting for rank 0 of 2 at 127.0.0.1:", options.port)));
}

TEST(LifelineTest, AnAddressThatCannotBeFoundIsSaidAtOnce) {
  for (const int rank : {0, 1}) {
    LifelineOptions options = Options(2, *FreePort(), 600);
    options.rank = rank;
    options.address = "300.1.2.3";
    const absl::Time start = absl::Now();
    const absl::Status status = Lifeline::Meet(options).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr("'300.1.2.3' cannot be found"));
    EXPECT_LT(absl::Now() - start, absl::Seconds(60));
  }
}

TEST(LifelineTest, APortThatIsTakenIsNamedAndADumbProgramIsNoRankZero) {
  const auto listener = ListenAt(LoopbackAddress(0));
  ASSERT_TRUE(listener.ok());
  LifelineOptions options = Options(2, LocalAddress(listener->fd())->port(), 1);
  absl::Status status = Lifeline::Meet(options).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("choose another MASTER_PORT"));
  options.rank = 1;
  status = Lifeline::Meet(options).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("nothing answers: rank 0 is stopped, or another program"));
}

TEST(LifelineTest, AnotherProgramsGreetingIsRefused) {
  const auto listener = ListenAt(LoopbackAddress(0));
  ASSERT_TRUE(listener.ok());
  LifelineOptions options = Options(2, LocalAddress(listener->fd())->port(), 60);
  options.rank = 1;
  std::thread program([&] {
    int fd = -1;
    while (fd < 0) fd = accept(listener->fd(), nullptr, nullptr);
    (void)!write(fd, "SSH-2.0-OpenSSH_9.2p1\r\n", 23);
    absl::SleepFor(absl::Seconds(1));
    close(fd);
  });
  const absl::Status status = Lifeline::Meet(options).status();
  program.join();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("is another program, not rank 0"));
}

// Another job's rank, another number of ranks, and a rank that is there already leave the others alone.
TEST(LifelineTest, StrangersAreSentAway) {
  const int port = *FreePort();
  LifelineOptions options = Options(2, port);
  options.run = "job 7";
  std::thread first([options] {
    const auto line = Lifeline::Meet(options);
    EXPECT_TRUE(line.ok() && (*line)->Gather("", "end").ok()) << line.status();
  });
  LifelineOptions stranger = options;
  stranger.rank = 1;
  stranger.run = "job 8";
  EXPECT_THAT(std::string(Lifeline::Meet(stranger).status().message()), HasSubstr("('job 7', not 'job 8')"));
  stranger.run = options.run;
  stranger.world_size = 4;
  EXPECT_THAT(std::string(Lifeline::Meet(stranger).status().message()), HasSubstr("this is rank 1 of 4, but at"));
  options.rank = 1;
  {
    const auto second = Lifeline::Meet(options);
    EXPECT_TRUE(second.ok() && (*second)->Gather("", "end").ok()) << second.status();
  }
  first.join();  // Not before the second has left.
}

TEST(LifelineTest, RanksOutOfStepAreNamed) {
  const auto results =
      RunThreads(2, [](Lifeline& line) { return line.Gather("", line.rank() == 0 ? "saving" : "comparing").status(); });
  for (const absl::Status& status : results) {
    EXPECT_TRUE(absl::IsInternal(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("out of step"));
  }
}

TEST(LifelineTest, WhoLeavesWhileOthersWaitIsNamed) {
  const auto results = RunThreads(
      2, [](Lifeline& line) { return line.rank() == 1 ? absl::OkStatus() : line.Gather("", "the losses").status(); });
  EXPECT_TRUE(results[1].ok());
  EXPECT_THAT(std::string(results[0].message()), HasSubstr("has ended, though others wait for it (the losses)"));
}

// A process that lives and does not come has a limit; one that says that it is at work has none.
TEST(LifelineTest, WorkIsWaitedForAndIdlenessIsNot) {
  for (const bool says_so : {true, false}) {
    const auto results = RunThreads(
        2,
        [says_so](Lifeline& line) {
          if (line.rank() == 0) {
            const Lifeline::Work work(says_so ? &line : nullptr, "saving");
            absl::SleepFor(absl::Seconds(5));
          }
          return line.Gather("", "the next step").status();
        },
        [](LifelineOptions*, absl::Status*) {}, /*timeout_seconds=*/2);
    if (says_so) {
      EXPECT_TRUE(results[0].ok() && results[1].ok()) << results[0] << results[1];
    } else {
      EXPECT_TRUE(absl::IsDeadlineExceeded(results[1])) << results[1];
      EXPECT_THAT(std::string(results[1].message()), HasSubstr("rank 0 ("));
      EXPECT_THAT(std::string(results[1].message()), HasSubstr("did not come to 'the next step' within 2 s"));
      EXPECT_THAT(std::string(results[0].message()), HasSubstr("rank 1 ("));
    }
  }
}

TEST(LifelineTest, AKilledRankIsNamedAtOnce) {
  for (const int victim : {0, 1}) {
    const absl::Time start = absl::Now();
    const std::string expected = absl::StrCat("rank ", victim, " (", HostName(), ") ended without a word");
    const auto codes = RunProcesses(
        3, 600,
        [&](Lifeline& line) -> std::string {
          if (line.rank() == victim) pause();
          return Expect(line.Gather("", "forever").status(), expected);
        },
        [victim](const std::vector<pid_t>& ranks) { kill(ranks[victim], SIGKILL); });
    for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(codes[rank], rank == victim ? -SIGKILL : 0) << "rank " << rank;
    EXPECT_LT(absl::Now() - start, absl::Seconds(60));  // Not the time limit.
  }
}

TEST(LifelineTest, AStoppedRankIsMissedAfterTheLimitAndNotBefore) {
  for (const int victim : {0, 1}) {
    // 4 s of 6: nothing has happened. Then for good.
    const auto codes = RunProcesses(
        2, 6,
        [&](Lifeline& line) -> std::string {
          if (line.rank() == victim) absl::SleepFor(absl::Seconds(1));
          const absl::Status first = line.Gather("", "before").status();
          if (!first.ok()) return first.ToString();
          if (line.rank() == victim) {
            const Lifeline::Work work(&line, "something long");
            pause();
          }
          return Expect(line.Gather("", "after").status(),
                        absl::StrCat("no sign of life from rank ", victim, " (", HostName(), ") for 6 s"));
        },
        [victim](const std::vector<pid_t>& ranks) {
          absl::SleepFor(absl::Milliseconds(300));
          kill(ranks[victim], SIGSTOP);
          absl::SleepFor(absl::Seconds(4));
          kill(ranks[victim], SIGCONT);
          absl::SleepFor(absl::Seconds(3));
          kill(ranks[victim], SIGSTOP);
          // The other one ends by itself; this one is not waited for.
          siginfo_t info;
          waitid(P_PID, ranks[1 - victim], &info, WEXITED | WNOWAIT);
          kill(ranks[victim], SIGKILL);
        });
    EXPECT_EQ(codes[1 - victim], 0);
  }
}

}  // namespace
}  // namespace tec
