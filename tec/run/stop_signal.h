// SIGINT, SIGTERM and SIGHUP: the first asks the training loop to finish its micro-step, save and end, a second one
// ends the process at once. SIGUSR1 asks it to save and go on. A run started with nohup has SIGHUP ignored, and keeps
// it so. SIGPIPE, as of "| head", asks for an end too, and so does SIGXCPU, of a limit on processor time.

#ifndef TEC_RUN_STOP_SIGNAL_H_
#define TEC_RUN_STOP_SIGNAL_H_

namespace tec {

// Installs the handlers while it lives; restores the former ones. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The first signal that asks for an end, or 0.
  int received() const;
  // How often SIGUSR1 has come.
  int save_requests() const;

  // Until the other ranks are met there is nothing to save, and no loop that would look: meanwhile a signal ends the
  // process at once with kExitStopped, as does turning this on after one.
  void set_ends_at_once(bool ends_at_once);
};

}  // namespace tec

#endif  // TEC_RUN_STOP_SIGNAL_H_
