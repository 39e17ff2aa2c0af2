#include "tec/run/stop_signal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "tec/base/logging.h"

namespace tec {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "used in a signal handler");
bool installed = false;
struct sigaction former_interrupt, former_terminate;

void Handle(int signal) {
  const int saved_errno = errno;
  int none = 0;
  if (received_signal.compare_exchange_strong(none, signal)) {
    static const char kMessage[] = "\nstopping after this step, then saving; once more to stop at once\n";
    (void)!write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
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
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = Handle;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &former_interrupt);
  sigaction(SIGTERM, &action, &former_terminate);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &former_interrupt, nullptr);
  sigaction(SIGTERM, &former_terminate, nullptr);
  installed = false;
}

int StopSignal::received() const { return received_signal; }

}  // namespace tec
