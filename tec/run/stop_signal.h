// SIGINT and SIGTERM: the first asks the training loop to finish its step and save, a second one ends the process at
// once.

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

  // The first signal that came, or 0.
  int received() const;
};

}  // namespace tec

#endif  // TEC_RUN_STOP_SIGNAL_H_
