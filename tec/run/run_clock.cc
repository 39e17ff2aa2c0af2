#include "tec/run/run_clock.h"

#include <algorithm>

#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

constexpr double kRecentSeconds = 60;

}  // namespace

double RunClock::SystemSeconds() { return SteadySeconds(); }

RunClock::Span RunClock::Now() const { return {seconds_(), wait_seconds_(), steps_}; }

void RunClock::Start(Period period) {
  const Span now = Now();
  starts_[period] = now;
  if (period == kRun) marks_ = {now};
  for (int part = period + 1; part <= kUpdate; ++part) starts_[part] = now;
}

void RunClock::EndStep() {
  const Span step = Since(kStep);
  step_seconds_.Add(step.seconds);
  step_wait_.Add(step.waited);
  const Span now = Now();
  if (!marks_.empty() && now.seconds - marks_.back().seconds < 1) return;
  marks_.push_back(now);
  while (marks_.size() > 1 && now.seconds - marks_[1].seconds >= kRecentSeconds) marks_.pop_front();
}

RunClock::Span RunClock::Recent() const {
  const Span now = Now();
  const Span start = marks_.empty() || marks_.front().steps == now.steps ? starts_[kRun] : marks_.front();
  return {std::max(now.seconds - start.seconds, 1e-9), now.waited - start.waited,
          std::max<int64_t>(now.steps - start.steps, 1)};
}

RunClock::Span RunClock::Since(Period period) const {
  const Span now = Now(), start = starts_[period];
  return {std::max(now.seconds - start.seconds, 1e-9), now.waited - start.waited, now.steps - start.steps};
}

}  // namespace tec
