// From the launcher's environment and the flags about it to this process's place among the ranks.

#ifndef TEC_DIST_FLAGS_H_
#define TEC_DIST_FLAGS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/config/distributed_flags.h"
#include "tec/dist/environment.h"

namespace tec {

// DetectLaunchEnvironment, and InvalidArgument where the flags tell of several processes but no launcher's variables
// are there.
absl::StatusOr<LaunchEnvironment> LaunchEnvironmentOf(const Distributed& flags);

// For a program that is about to end before the ranks have met: tells the others why, so that they do not wait for it.
// Does nothing where there are no others, or no error.
void TellRanks(const Distributed& flags, const absl::Status& error);

}  // namespace tec

#endif  // TEC_DIST_FLAGS_H_
