// Logging and checks, under names of their own: c10, glog and Abseil all define LOG and CHECK, and whichever header
// comes last wins. This header includes none of those; glog is included in logging.cc alone, so no include order can
// collide.
//
//   TEC_LOG(INFO) << "resumed at step " << step;           // INFO, WARNING or ERROR
//   TEC_CHECK(groups > 0) << "groups must be positive";    // our own mistake: logs and aborts
//   TEC_CHECK_EQ(depth % groups, 0) << "depth " << depth;
//
// What the world does (files, flags, checkpoints) is reported by absl::Status (status.h), never by a check.

#ifndef TEC_BASE_LOGGING_H_
#define TEC_BASE_LOGGING_H_

#include <sstream>
#include <type_traits>

#include "absl/status/status.h"

namespace tec {

enum class LogSeverity { INFO, WARNING, ERROR, FATAL };

// Call once at the start of main(). The log goes to standard error. `program` is argv[0].
void InitLogging(const char* program);

namespace logging_internal {

// Collects one message and hands it to glog when it goes out of scope; FATAL aborts.
class Message {
 public:
  Message(const char* file, int line, LogSeverity severity) : file_(file), line_(line), severity_(severity) {}
  ~Message() noexcept(false);
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  std::ostream& stream() { return stream_; }

 private:
  const char* file_;
  int line_;
  LogSeverity severity_;
  std::ostringstream stream_;
};

template <typename T>
const absl::Status& StatusOf(const T& status_or_value) {
  if constexpr (std::is_same_v<T, absl::Status>) {
    return status_or_value;
  } else {
    return status_or_value.status();
  }
}

// Gives both arms of the conditional in TEC_CHECK the type void.
struct Voidify {
  void operator&(std::ostream&) {}
};

}  // namespace logging_internal
}  // namespace tec

#define TEC_LOG(severity) ::tec::logging_internal::Message(__FILE__, __LINE__, ::tec::LogSeverity::severity).stream()

#define TEC_CHECK(condition)           \
  (__builtin_expect(!!(condition), 1)) \
      ? (void)0                        \
      : ::tec::logging_internal::Voidify() & TEC_LOG(FATAL) << "Check failed: " #condition " "

#define TEC_CHECK_OP_(a, op, b) TEC_CHECK((a)op(b)) << "(" << (a) << " vs. " << (b) << ") "
#define TEC_CHECK_EQ(a, b) TEC_CHECK_OP_(a, ==, b)
#define TEC_CHECK_NE(a, b) TEC_CHECK_OP_(a, !=, b)
#define TEC_CHECK_LT(a, b) TEC_CHECK_OP_(a, <, b)
#define TEC_CHECK_LE(a, b) TEC_CHECK_OP_(a, <=, b)
#define TEC_CHECK_GT(a, b) TEC_CHECK_OP_(a, >, b)
#define TEC_CHECK_GE(a, b) TEC_CHECK_OP_(a, >=, b)
// For a status that only our own mistake can make bad.
#define TEC_CHECK_OK(expression)                                 \
  if (const auto& tec_status_ = (expression); !tec_status_.ok()) \
  TEC_LOG(FATAL) << #expression << " is " << ::tec::logging_internal::StatusOf(tec_status_) << " "

#endif  // TEC_BASE_LOGGING_H_
