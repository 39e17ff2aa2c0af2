#include "tec/run/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/printable.h"
#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr int kBarCells = 20;

int Columns(std::FILE* file) {
  struct winsize size;
  if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

int Digits(int64_t value) { return static_cast<int>(absl::StrCat(value).size()); }

}  // namespace

std::string FormatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) return "?";
  const int64_t whole = std::llround(seconds);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string FormatLine(const ProgressState& state) {
  std::string line =
      absl::StrFormat("Epoch: [%d]  [%*d/%d]  eta: %s  lr: %.6f", state.epoch, Digits(state.steps_per_epoch),
                      state.step, state.steps_per_epoch, FormatDuration(state.eta_seconds), state.lr);
  for (const ProgressState::Loss& loss : state.losses) {
    absl::StrAppendFormat(&line, "  %s: %.4f (%.4f)", loss.name, loss.median, loss.mean);
  }
  absl::StrAppendFormat(&line, "  time: %.4f s  data: %.4f s  %.1f images/s", state.step_seconds,
                        state.data_wait_seconds, state.images_per_second);
  return line;
}

std::string FormatBar(const ProgressState& state, int columns) {
  const double done = state.steps_per_epoch > 0 ? static_cast<double>(state.step) / state.steps_per_epoch : 0;
  const int filled = std::clamp(static_cast<int>(done * kBarCells), 0, kBarCells);
  std::string line = absl::StrFormat("epoch %d/%d [%s%s] %*d/%d", state.epoch + 1, state.epochs,
                                     std::string(filled, '#'), std::string(kBarCells - filled, '-'),
                                     Digits(state.steps_per_epoch), state.step, state.steps_per_epoch);
  // The most wanted first: what does not fit is cut.
  if (!state.losses.empty()) absl::StrAppendFormat(&line, "  loss %.4f", state.losses[0].median);
  absl::StrAppendFormat(&line, "  ETA %s  %.1f images/s", FormatDuration(state.eta_seconds), state.images_per_second);
  const double wait = state.step_seconds > 0 ? state.data_wait_seconds / state.step_seconds : 0;
  absl::StrAppendFormat(&line, "  lr %.2e  data wait %.0f%%", state.lr, 100 * wait);
  for (size_t i = 1; i < state.losses.size(); ++i) {
    absl::StrAppendFormat(&line, "  %s %.4f", state.losses[i].name, state.losses[i].median);
  }
  if (static_cast<int>(line.size()) > columns) line.resize(std::max(columns, 0));
  return line;
}

Progress::Progress(const Options& options)
    : options_(options), terminal_(!options.quiet && isatty(fileno(options.file)) == 1) {}

Progress::~Progress() {
  if (!drawn_) return;
  std::fputc('\n', options_.file);
  std::fflush(options_.file);
}

bool Progress::WouldShow(int64_t step, int64_t steps_per_epoch) const {
  if (options_.quiet) return false;
  if (step == steps_per_epoch) return true;
  if (terminal_) return SteadySeconds() - last_drawn_ >= kRedrawSeconds;
  // The first one at once: it tells that the run is under way, and how fast.
  if (options_.log_seconds > 0 && (!written_ || SteadySeconds() - last_drawn_ >= options_.log_seconds)) return true;
  return options_.print_freq > 0 && (!written_ || step % options_.print_freq == 0);
}

void Progress::Update(const ProgressState& state) {
  if (!WouldShow(state.step, state.steps_per_epoch)) return;
  if (terminal_) {
    // One column stays free: a full line would wrap.
    std::fprintf(options_.file, "\r%s\x1b[K", FormatBar(state, Columns(options_.file) - 1).c_str());
    drawn_ = true;
  } else {
    std::fprintf(options_.file, "%s\n", FormatLine(state).c_str());
    written_ = true;
  }
  last_drawn_ = SteadySeconds();
  std::fflush(options_.file);
}

void Progress::Print(const std::string& line) {
  if (options_.quiet) return;
  Clear();
  std::fprintf(options_.file, "%s\n", PrintableLines(line).c_str());
  std::fflush(options_.file);
}

void Progress::Clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", options_.file);
  drawn_ = false;
}

}  // namespace tec
