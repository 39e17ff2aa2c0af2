// Real processes on the loopback device. Each test forks its ranks before anything in this process has used LibTorch's
// threads; a rank reports by its exit code.

#include "tec/dist/process_group.h"

#include <signal.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/dist/forked_ranks.h"
#include "tec/dist/launch.h"

namespace tec {
namespace {

using testing::RunRanks;

std::string Expect(bool condition, const std::string& what) { return condition ? "" : what; }

TEST(ProcessGroupTest, SumsMeansAndTexts) {
  RunRanks(3, [](ProcessGroup& group) -> std::string {
    at::Tensor tensor = at::full({5}, group.rank() + 1.0);
    if (!group.AllReduceSum(tensor).ok() || !tensor.equal(at::full({5}, 6.0))) return "sum";
    const auto mean = group.Mean({1.0 * group.rank(), 7.5});
    if (!mean.ok() || *mean != std::vector<double>({1.0, 7.5})) return "mean";
    const std::vector<int64_t> mine =
        group.rank() == 1 ? std::vector<int64_t>() : std::vector<int64_t>{4, group.rank()};
    const auto all = group.Union(mine, 5);
    if (!all.ok() || *all != std::vector<int64_t>({0, 2, 4})) return "union";
    if (*group.Any(false) || !*group.Any(group.rank() == 1)) return "any";
    const auto text = group.BroadcastText("from rank " + std::to_string(group.rank()));
    if (!text.ok() || *text != "from rank 0") return "text";
    // Rank 0 serves the text: it must not end before the others have it.
    return Expect(group.Agree(absl::OkStatus()).ok(), "end");
  });
}

TEST(ProcessGroupTest, AllLearnOfOneRanksError) {
  RunRanks(2, [](ProcessGroup& group) -> std::string {
    absl::Status status = group.Agree(absl::OkStatus());
    if (!status.ok()) return status.ToString();
    status = group.Agree(group.rank() == 1 ? absl::NotFoundError("no file x") : absl::OkStatus());
    const std::string expected = group.rank() == 1 ? "no file x" : "rank 1: no file x";
    if (!absl::IsNotFound(status) || status.message() != expected) return status.ToString();
    return Expect(group.Any(group.rank() == 0).value_or(false), "out of step after an error");
  });
}

TEST(ProcessGroupTest, DeathOfARankEndsTheOthersWait) {
  for (const int victim : {0, 1, 2}) {
    RunRanks(3, [victim](ProcessGroup& group) -> std::string {
      absl::Status status = group.Any(false).status();  // Now the connections stand.
      if (group.rank() == victim) _exit(status.ok() ? 0 : 1);
      // Rank 0 may die between its own answer and the others', which it serves.
      if (status.ok()) status = group.AllReduceSum(at::zeros({1}));
      const std::string expected = group.NameOf(victim) + " ended without a word";
      return Expect(absl::IsUnavailable(status) && absl::StrContains(status.message(), expected), status.ToString());
    });
  }
}

// One that is stopped breaks no connection; the operation that waits for it is given up, and the process ends.
TEST(ProcessGroupTest, AStoppedRankEndsTheOthersWait) {
  RunRanks(
      3,
      [](ProcessGroup& group) -> std::string {
        if (!group.Any(false).ok()) return "the ranks did not meet";
        if (group.rank() == 1) {
          // Killed when all is over: the test waits for every rank.
          const pid_t parent = getpid();
          if (fork() == 0) {
            sleep(12);
            kill(parent, SIGCONT);
            _exit(0);
          }
          kill(getpid(), SIGSTOP);
          _exit(0);
        }
        at::Tensor tensor = at::zeros({1 << 20});
        const absl::Status status = group.AllReduceSum(tensor);
        const std::string expected = "no sign of life from " + group.NameOf(1) + " for 5 s";
        return Expect(absl::IsUnavailable(status) && absl::StrContains(status.message(), expected), status.ToString());
      },
      /*timeout_seconds=*/5);
}

// One rank's error while the others sum up.
TEST(ProcessGroupTest, AnErrorReachesWhoeverSums) {
  RunRanks(3, [](ProcessGroup& group) -> std::string {
    absl::Status status;
    if (group.rank() == 2) {
      group.Fail(absl::DataLossError("too many unreadable images"));
    } else {
      status = group.AllReduceSum(at::zeros({8}));
      if (!absl::IsDataLoss(status) || status.message() != group.NameOf(2) + ": too many unreadable images") {
        return status.ToString();
      }
    }
    return "";
  });
}

TEST(ProcessGroupTest, OneRankNeedsNone) {
  auto group = ProcessGroup::Create(LaunchEnvironment());
  ASSERT_TRUE(group.ok());
  at::Tensor tensor = at::full({2}, 3.0);
  EXPECT_TRUE((*group)->AllReduceSum(tensor).ok());
  EXPECT_TRUE(tensor.equal(at::full({2}, 3.0)));
  EXPECT_EQ(*(*group)->Mean({4.0}), std::vector<double>({4.0}));
  EXPECT_TRUE((*group)->Agree(absl::OkStatus()).ok());
  EXPECT_EQ((*group)->Agree(absl::InternalError("x")).message(), "x");
}

}  // namespace
}  // namespace tec
