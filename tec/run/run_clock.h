// Where a run's time goes: what a step takes, how much of it is spent waiting for images, how many images a second.

#ifndef TEC_RUN_RUN_CLOCK_H_
#define TEC_RUN_RUN_CLOCK_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "tec/run/meter.h"

namespace tec {

class RunClock {
 public:
  enum Period { kRun, kEpoch, kUpdate, kStep, kPeriods };

  // wait_seconds: the time spent so far waiting for data (Loader::wait_seconds); it never falls. seconds: what time it
  // is; by default the system's.
  explicit RunClock(std::function<double()> wait_seconds, std::function<double()> seconds = SystemSeconds)
      : wait_seconds_(std::move(wait_seconds)), seconds_(std::move(seconds)) {}

  // `period` begins now; a run begins with an epoch and an epoch with an update.
  void Start(Period period);
  // A micro-step is done, but for the update that it may end.
  void CountStep() { ++steps_; }
  // The time since Start(kStep) counts in the medians.
  void EndStep();

  struct Span {
    double seconds = 0, waited = 0;
    int64_t steps = 0;
  };
  // Since the beginning of `period`. seconds > 0.
  Span Since(Period period) const;
  // The last minute of micro-steps, or all since the run began; at least one. For rates and what they foretell: a run
  // may have been slow at its start.
  Span Recent() const;
  // Medians of the newest micro-steps, seconds; NaN before the first.
  double step_seconds() const { return step_seconds_.Median(); }
  double step_wait() const { return step_wait_.Median(); }

 private:
  static double SystemSeconds();
  Span Now() const;  // Seconds since the epoch of the clock.

  std::function<double()> wait_seconds_, seconds_;
  int64_t steps_ = 0;
  std::array<Span, kPeriods> starts_;
  std::deque<Span> marks_;  // A second apart, the oldest a minute before the newest.
  Meter step_seconds_, step_wait_;
};

}  // namespace tec

#endif  // TEC_RUN_RUN_CLOCK_H_
