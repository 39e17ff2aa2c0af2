#include "tec/run/stop_signal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <iterator>

#include "tec/base/exit_code.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "used in a signal handler");
std::atomic<int> saves_asked{0};
std::atomic<bool> ending_at_once{false};
bool installed = false;

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE, SIGXCPU};
struct sigaction former[std::size(kSignals)];

template <size_t size>
void Say(const char (&text)[size]) {
  (void)!write(STDERR_FILENO, text, size - 1);
}

void EndAtOnce() {
  Say("\nstopped before the ranks had met: nothing was trained, nothing is to be saved\n");
  _exit(kExitStopped);
}

void HandleSave(int) {
  const int saved_errno = errno;
  ++saves_asked;
  Say("\nasked to save: after this update, then going on\n");
  errno = saved_errno;
}

bool IsRepeated(int signal) { return signal == SIGPIPE || signal == SIGXCPU; }

// Every further line, or second, brings it again: it is no second request. Nothing is said, as it may be this file that
// is closed.
void HandleRepeated(int signal) {
  int none = 0;
  received_signal.compare_exchange_strong(none, signal);
}

void Handle(int signal) {
  const int saved_errno = errno;
  if (ending_at_once) EndAtOnce();
  if (const int before = received_signal.exchange(signal); before == 0 || IsRepeated(before)) {
    Say("\nstopping after this step, then saving; once more to stop at once\n");
  } else {
    _exit(128 + signal);
  }
  errno = saved_errno;
}

}  // namespace

StopSignal::StopSignal() {
  TEC_CHECK(!installed) << "one StopSignal at a time";
  installed = true;
  received_signal = 0;
  saves_asked = 0;
  ending_at_once = false;
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    action.sa_handler = kSignals[i] == SIGUSR1 ? HandleSave : IsRepeated(kSignals[i]) ? HandleRepeated : Handle;
    sigaction(kSignals[i], &action, &former[i]);
    if (kSignals[i] == SIGHUP && former[i].sa_handler == SIG_IGN) sigaction(SIGHUP, &former[i], nullptr);
  }
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &former[i], nullptr);
  installed = false;
}

int StopSignal::received() const { return received_signal; }

int StopSignal::save_requests() const { return saves_asked; }

void StopSignal::set_ends_at_once(bool ends_at_once) {
  ending_at_once = ends_at_once;
  if (ends_at_once && received_signal != 0) EndAtOnce();
}

}  // namespace tec
