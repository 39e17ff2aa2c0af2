// The flags about how a program is one of several processes: the same in all that run over ranks.

#ifndef TEC_CONFIG_DISTRIBUTED_FLAGS_H_
#define TEC_CONFIG_DISTRIBUTED_FLAGS_H_

#include <cstdint>
#include <string>

#include "tec/config/flag_parser.h"

namespace tec {

// How this process is one of several (recipe.md section 12). Part of the launch, not of the experiment.
struct Distributed {
  int64_t world_size = 1;    // --world_size: the environment, where it says otherwise, wins, as in the reference.
  int64_t rank = 0;          // --rank
  int64_t local_rank = -1;   // --local_rank: accepted for launchers that pass it; the reference never uses it.
  bool dist_on_itp = false;  // --dist_on_itp: take rank and world size from Open MPI's environment.
  std::string dist_url = "env://";  // --dist_url
  bool multinode = false;           // --multinode
  double dist_timeout = 600;        // --dist_timeout, in seconds
  int64_t check_ranks_every = 0;    // --check_ranks_every, in updates
  bool bind = true;                 // --bind: to its GPU's memory node.
  bool deterministic = false;       // --deterministic
  bool bfloat16_gradients = false;  // --bfloat16_gradients
};

// The flags' current values.
Distributed DistributedFlags();

// For ParseFlags. sends_gradients: with --bfloat16_gradients, which means nothing elsewhere.
FlagGroup DistributedFlagGroup(bool sends_gradients = false);

}  // namespace tec

#endif  // TEC_CONFIG_DISTRIBUTED_FLAGS_H_
