// Who am I among the ranks of this run: read from the environment that a launcher sets (recipe.md section 12). No
// tensors, no sockets.

#ifndef TEC_DIST_ENVIRONMENT_H_
#define TEC_DIST_ENVIRONMENT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

enum class Launcher { kNone, kTorchrun, kOpenMpi, kSlurm };

struct LaunchEnvironment {
  Launcher launcher = Launcher::kNone;
  int rank = 0;  // In [0, world_size).
  int world_size = 1;
  int local_rank = 0;  // Among the ranks of this machine; chooses the GPU.
  int local_world_size = 1;
  std::string master_address;  // Empty with Launcher::kNone.
  int master_port = 0;
  // torchrun's agent serves the store at master_address:master_port itself (TORCHELASTIC_USE_AGENT_STORE); otherwise
  // rank 0 does. Each restart of the ranks uses keys of its own there.
  bool agent_serves_store = false;
  int restart_count = 0;
  // What the launcher calls the job, so that the ranks of two at one port do not meet; may be empty.
  std::string run;
  double timeout_seconds = 600;  // --dist_timeout: as LifelineOptions::timeout_seconds.
  int64_t check_every = 0;  // --check_ranks_every: updates between two comparisons of the ranks' state; 0: at saves.
};

struct LaunchOptions {
  bool dist_on_itp = false;  // --dist_on_itp: Open MPI's variables, before all others.
  std::string dist_url =
      "env://";  // --dist_url: env:// or tcp://HOST:PORT, which stands for MASTER_ADDR and MASTER_PORT.
  double timeout_seconds = 600;
  int64_t check_every = 0;
};

// The value of an environment variable, nullopt if it is not set.
using GetEnv = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> ProcessEnvironment(const std::string& name);

// Looked for in this order:
//   --dist_on_itp          OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK
//   RANK or WORLD_SIZE     torchrun's RANK, WORLD_SIZE, LOCAL_RANK (LOCAL_WORLD_SIZE: WORLD_SIZE without it)
//   SLURM_PROCID           rank; SLURM_NTASKS, SLURM_LOCALID, SLURM_JOB_NUM_NODES, SLURM_JOB_NODELIST (its first host
//   is the
//                          master), SLURM_JOB_ID (chooses the port) [the mapping of facebookresearch/dinov2]
//   none                   a single process
// A single SLURM task (SLURM_NTASKS 1) is a single process: that is what a shell inside an allocation looks like.
// Open MPI's or PMI's number of processes above 1 without any of these is InvalidArgument: each would be a run of its
// own.
// A mode of which only a part is set, a number that is none or out of range: InvalidArgument naming every such
// variable.
absl::StatusOr<LaunchEnvironment> DetectLaunchEnvironment(const LaunchOptions& options,
                                                          const GetEnv& get_env = ProcessEnvironment);

// The hosts of a SLURM node list: "gpu[01-03,07],login" is gpu01, gpu02, gpu03, gpu07, login.
absl::StatusOr<std::vector<std::string>> ExpandSlurmNodeList(absl::string_view list);

}  // namespace tec

#endif  // TEC_DIST_ENVIRONMENT_H_
