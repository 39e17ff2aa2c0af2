#include "tec/base/logging.h"

#include <glog/logging.h>

#include "tec/base/printable.h"

namespace tec {

void InitLogging(const char* program) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(program);
}

namespace logging_internal {

Message::~Message() noexcept(false) {
  static constexpr google::LogSeverity kSeverity[] = {google::GLOG_INFO, google::GLOG_WARNING, google::GLOG_ERROR,
                                                      google::GLOG_FATAL};
  google::LogMessage(file_, line_, kSeverity[static_cast<int>(severity_)]).stream() << PrintableLines(stream_.str());
}

}  // namespace logging_internal
}  // namespace tec
