// Folders that are away for a moment: a network file system that is mounted anew, a server that starts again.

#ifndef TEC_BASE_WHILE_AWAY_H_
#define TEC_BASE_WHILE_AWAY_H_

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace tec {

// Whether a call failed with `status` because `folder`, in which it was to happen, is away or has just come back.
bool MayBeAway(const absl::Status& status, const std::string& folder);

// Calls `body`, which writes into `folder`, and again after pauses as long as MayBeAway, for 5.5 seconds altogether;
// each is logged. Returns what the last call returned. `body` must be one that can be repeated after such a failure.
absl::Status RetryWhileAway(const std::string& folder, const std::function<absl::Status()>& body);

}  // namespace tec

#endif  // TEC_BASE_WHILE_AWAY_H_
