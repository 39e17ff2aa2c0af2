// Passing absl::Status on, with context added as it travels.
//
//   TEC_RETURN_IF_ERROR(file.Close());
//   TEC_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//   return Annotate(status, absl::StrCat("while resuming from ", path));
//
// Twins of macros that Abseil has only from 20260526 on.

#ifndef TEC_BASE_STATUS_H_
#define TEC_BASE_STATUS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace tec {

// `status` with "context: " before its message; its code stays. OK stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace tec

#define TEC_RETURN_IF_ERROR(expression)        \
  do {                                         \
    absl::Status tec_status_ = (expression);   \
    if (!tec_status_.ok()) return tec_status_; \
  } while (false)

#define TEC_STATUS_CONCAT_INNER_(a, b) a##b
#define TEC_STATUS_CONCAT_(a, b) TEC_STATUS_CONCAT_INNER_(a, b)

#define TEC_ASSIGN_OR_RETURN(declaration, expression) \
  TEC_ASSIGN_OR_RETURN_(TEC_STATUS_CONCAT_(tec_statusor_, __LINE__), declaration, expression)

#define TEC_ASSIGN_OR_RETURN_(statusor, declaration, expression) \
  auto statusor = (expression);                                  \
  if (!statusor.ok()) return statusor.status();                  \
  declaration = *std::move(statusor)

#endif  // TEC_BASE_STATUS_H_
