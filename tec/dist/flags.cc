#include "tec/dist/flags.h"

#include "tec/base/status.h"

namespace tec {

absl::StatusOr<LaunchEnvironment> LaunchEnvironmentOf(const Distributed& flags) {
  TEC_ASSIGN_OR_RETURN(const LaunchEnvironment environment,
                       DetectLaunchEnvironment({flags.dist_on_itp, flags.dist_url}));
  if (environment.launcher == Launcher::kNone && (flags.world_size > 1 || flags.multinode)) {
    return absl::InvalidArgumentError(
        "--world_size and --multinode tell of several processes, but no launcher's environment is there: start with "
        "torchrun or srun, with mpirun and --dist_on_itp, or set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and "
        "MASTER_PORT");
  }
  return environment;
}

}  // namespace tec
