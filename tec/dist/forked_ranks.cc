#include "tec/dist/forked_ranks.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "gtest/gtest.h"
#include "tec/dist/launch.h"

namespace tec {
namespace testing {

void RunUnmetRanks(int world_size, const UnmetRankBody& body, double timeout_seconds) {
  LaunchEnvironment environment;
  environment.launcher = Launcher::kTorchrun;
  environment.world_size = environment.local_world_size = world_size;
  environment.master_address = "127.0.0.1";
  environment.master_port = *FreePort();
  std::vector<pid_t> children;
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      environment.rank = environment.local_rank = rank;
      environment.timeout_seconds = timeout_seconds;
      const std::string problem = body(environment);
      if (!problem.empty()) std::fprintf(stderr, "rank %d: %s\n", rank, problem.c_str());
      _exit(problem.empty() ? 0 : 1);
    }
    children.push_back(child);
  }
  for (int rank = 0; rank < world_size; ++rank) {
    int status;
    ASSERT_EQ(waitpid(children[rank], &status, 0), children[rank]);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "rank " << rank << " status " << status;
  }
}

void RunRanks(int world_size, const RankBody& body, double timeout_seconds) {
  RunUnmetRanks(
      world_size,
      [&body](const LaunchEnvironment& environment) {
        auto group = ProcessGroup::Create(environment);
        return group.ok() ? body(**group) : group.status().ToString();
      },
      timeout_seconds);
}

}  // namespace testing
}  // namespace tec
