// What the programs' exit codes mean.

#ifndef TEC_BASE_EXIT_CODE_H_
#define TEC_BASE_EXIT_CODE_H_

#include "absl/status/status.h"

namespace tec {

enum ExitCode : int {
  kExitDone = 0,
  kExitBadInput = 1,  // Bad use or input: something the user can put right.
  kExitFailed = 2,    // Failed while running.
  kExitStopped = 3,   // Stopped on request, after saving.
};

// InvalidArgument, NotFound, FailedPrecondition and PermissionDenied are bad input; Cancelled is a stop on request;
// every other error is a failure.
inline ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
      return kExitBadInput;
    case absl::StatusCode::kCancelled:
      return kExitStopped;
    default:
      return kExitFailed;
  }
}

// `status` for an error after the input was found good: what would be bad input becomes Internal, with the same
// message.
inline absl::Status AsFailure(const absl::Status& status) {
  return ExitCodeOf(status) == kExitBadInput ? absl::InternalError(status.message()) : status;
}

}  // namespace tec

#endif  // TEC_BASE_EXIT_CODE_H_
