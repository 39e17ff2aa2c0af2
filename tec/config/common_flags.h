// The flags that pretraining and finetuning share, and how any flag reaches its field.

#ifndef TEC_CONFIG_COMMON_FLAGS_H_
#define TEC_CONFIG_COMMON_FLAGS_H_

#include <cstdint>
#include <string>

namespace tec {

// How this process is one of several (recipe.md section 12). Part of the launch, not of the experiment.
struct Distributed {
  int64_t world_size = 1;     // --world_size: the environment, where it says otherwise, wins, as in the reference.
  int64_t rank = 0;           // --rank
  int64_t local_rank = -1;    // --local_rank: accepted for launchers that pass it; the reference never uses it.
  bool dist_on_itp = false;   // --dist_on_itp: take rank and world size from Open MPI's environment.
  std::string dist_url = "env://";  // --dist_url
  bool multinode = false;     // --multinode
};

// The flags' current values.
Distributed DistributedFlags();

}  // namespace tec

#endif  // TEC_CONFIG_COMMON_FLAGS_H_
