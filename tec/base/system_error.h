// Errors of the system, told apart from what is wrong with a file's contents.

#ifndef TEC_BASE_SYSTEM_ERROR_H_
#define TEC_BASE_SYSTEM_ERROR_H_

#include <errno.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace tec {

// ErrnoToStatus (tec/base/file.h) leaves the error's number in its status under this name.
inline constexpr absl::string_view kErrnoPayload = "errno";

// The number of the system's error that `status` is of; 0 for one of our own, and where it was annotated.
inline int ErrnoOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrnoPayload);
  int number = 0;
  return payload && absl::SimpleAtoi(std::string(*payload), &number) ? number : 0;
}

// Whether a folder, or the server that it is on, does not answer.
inline bool IsOfAway(int error) {
  return error == ESTALE || error == ETIMEDOUT || error == ENOTCONN || error == EHOSTDOWN || error == EHOSTUNREACH ||
         error == EREMOTEIO || error == ECONNRESET || error == ECONNABORTED || error == ECONNREFUSED ||
         error == ENETDOWN || error == ENETUNREACH || error == ENETRESET || error == ENOLINK || error == ENONET ||
         error == ECOMM;
}

// Whether the same call may succeed a little later: too many open files, a disk or a server that does not answer, a
// file that a server has replaced, no memory, no locks, a signal. None of them says anything about the file.
inline bool MayPass(int error) {
  return error == EMFILE || error == ENFILE || error == EIO || error == EINTR || error == ENOMEM || error == EAGAIN ||
         error == ENOLCK || IsOfAway(error);
}

}  // namespace tec

#endif  // TEC_BASE_SYSTEM_ERROR_H_
