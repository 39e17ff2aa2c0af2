#include "tec/run/run_clock.h"

#include <algorithm>

#include "tec/base/steady_seconds.h"

namespace tec {

RunClock::Span RunClock::Now() const { return {SteadySeconds(), wait_seconds_(), steps_}; }

void RunClock::Start(Period period) {
  const Span now = Now();
  starts_[period] = now;
  for (int part = period + 1; part <= kUpdate; ++part) starts_[part] = now;
}

void RunClock::EndStep() {
  const Span step = Since(kStep);
  step_seconds_.Add(step.seconds);
  step_wait_.Add(step.waited);
}

RunClock::Span RunClock::Since(Period period) const {
  const Span now = Now(), start = starts_[period];
  return {std::max(now.seconds - start.seconds, 1e-9), now.waited - start.waited, now.steps - start.steps};
}

}  // namespace tec
