// Ranks of a test: processes that it forks, which meet on the loopback device.

#ifndef TEC_DIST_FORKED_RANKS_H_
#define TEC_DIST_FORKED_RANKS_H_

#include <functional>
#include <string>

#include "tec/dist/process_group.h"

namespace tec {
namespace testing {

// What a rank finds wrong: "" or a text, which is printed with its number.
using RankBody = std::function<std::string(ProcessGroup&)>;

// Runs `body` in each of them and fails the test if one finds something wrong or dies. Before anything in this process
// has used LibTorch's threads.
void RunRanks(int world_size, const RankBody& body, double timeout_seconds = 60);

// The same for a body that makes its group itself, or what has one.
using UnmetRankBody = std::function<std::string(const LaunchEnvironment&)>;
void RunUnmetRanks(int world_size, const UnmetRankBody& body, double timeout_seconds = 60);

}  // namespace testing
}  // namespace tec

#endif  // TEC_DIST_FORKED_RANKS_H_
