#include "tec/dist/flags.h"

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/dist/lifeline.h"

namespace tec {

absl::StatusOr<LaunchEnvironment> LaunchEnvironmentOf(const Distributed& flags) {
  if (!(flags.dist_timeout >= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--dist_timeout=", flags.dist_timeout, ": it must be at least 1 second"));
  }
  if (flags.check_ranks_every < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--check_ranks_every=", flags.check_ranks_every, ": it must be at least 0 updates"));
  }
  TEC_ASSIGN_OR_RETURN(
      const LaunchEnvironment environment,
      DetectLaunchEnvironment({flags.dist_on_itp, flags.dist_url, flags.dist_timeout, flags.check_ranks_every}));
  if (environment.launcher == Launcher::kNone && (flags.world_size > 1 || flags.multinode)) {
    return absl::InvalidArgumentError(
        "--world_size and --multinode tell of several processes, but no launcher's environment is there: start with "
        "torchrun or srun, with mpirun and --dist_on_itp, or set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and "
        "MASTER_PORT");
  }
  return environment;
}

void TellRanks(const Distributed& flags, const absl::Status& error) {
  if (error.ok()) return;
  const absl::StatusOr<LaunchEnvironment> environment = DetectLaunchEnvironment({flags.dist_on_itp, flags.dist_url});
  if (!environment.ok() || environment->world_size == 1) return;
  LifelineOptions options = LifelineOf(*environment);
  // Long enough for those that start later. torchrun ends the others by itself.
  options.timeout_seconds = 20;
  if (!environment->agent_serves_store) (void)Lifeline::Meet(options, error);
}

}  // namespace tec
