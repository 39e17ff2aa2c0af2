// From the launcher's environment and the flags about it to this process's place among the ranks.

#ifndef TEC_DIST_FLAGS_H_
#define TEC_DIST_FLAGS_H_

#include "absl/status/statusor.h"
#include "tec/config/common_flags.h"
#include "tec/dist/environment.h"

namespace tec {

// DetectLaunchEnvironment, and InvalidArgument where the flags tell of several processes but no launcher's variables
// are there.
absl::StatusOr<LaunchEnvironment> LaunchEnvironmentOf(const Distributed& flags);

}  // namespace tec

#endif  // TEC_DIST_FLAGS_H_
