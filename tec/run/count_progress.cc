#include "tec/run/count_progress.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "tec/run/progress.h"

namespace tec {
namespace {

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

std::string FormatCount(const std::string& what, int64_t done, int64_t total, double seconds) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const std::string count = absl::StrFormat("%s: %d/%d images", what, done, total);
  if (rate == 0) return count;
  return absl::StrFormat("%s, %.1f images/s, %s left", count, rate,
                         FormatDuration(static_cast<double>(total - done) / rate));
}

CountProgress::CountProgress(std::string what, std::FILE* file)
    : what_(std::move(what)), file_(file), terminal_(isatty(fileno(file)) != 0), started_(Now()), shown_(started_) {}

CountProgress::~CountProgress() {
  if (drawn_) std::fputs("\r\033[K", file_);
}

void CountProgress::Update(int64_t done, int64_t total) {
  const double now = Now();
  if (now - shown_ < (terminal_ ? 0.1 : 10)) return;
  shown_ = now;
  const std::string text = FormatCount(what_, done, total, now - started_);
  if (terminal_) {
    std::fprintf(file_, "\r\033[K%s", text.c_str());
    drawn_ = true;
  } else {
    std::fprintf(file_, "%s\n", text.c_str());
  }
  std::fflush(file_);
}

}  // namespace tec
