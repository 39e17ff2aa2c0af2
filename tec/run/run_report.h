// What a run says of itself while it trains: the lines and scalars of its logs (run_log.h), and the console's progress.

#ifndef TEC_RUN_RUN_REPORT_H_
#define TEC_RUN_RUN_REPORT_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "tec/run/run_clock.h"
#include "tec/run/run_context.h"
#include "tec/run/run_log.h"
#include "tec/run/run_options.h"
#include "tec/run/run_position.h"
#include "tec/run/task.h"
#include "tec/run/unread_update.h"

namespace tec {

class RunReport {
 public:
  // All outlive it; `plan` may be filled in until Open.
  RunReport(RunContext& context, Task& task, const LoopOptions& options, const EpochPlan& plan);

  // First rank only, as LogEpoch and Sync: begins the logs, or cuts them back to `position`.
  absl::Status Open(const RunPosition& position);
  // `update` has been read. Nothing on the other ranks.
  absl::Status LogUpdate(const UnreadUpdate& update);
  // Of the epoch finished.epoch, which took `span`; adds the run's own fields to those of the task. The disk has them
  // afterwards. Of the first one the console gets a line more: its speed, as a part of the device's (matrix_rate.h).
  absl::Status LogEpoch(const RunPosition& finished, const RunClock::Span& span, EpochReport* report);
  absl::Status Sync();
  // On the console, when it is time for it.
  void ShowProgress(const RunPosition& position);

  // The run's, which the loop keeps.
  RunClock& clock() { return clock_; }
  // Images a second, of all ranks.
  double Rate(const RunClock::Span& span) const { return span.steps * plan_.images_per_micro_step / span.seconds; }

 private:
  void ShowRate(int64_t epoch, const RunClock::Span& span);

  RunContext& context_;
  Task& task_;
  const LoopOptions& options_;
  const EpochPlan& plan_;
  RunClock clock_;
  std::optional<RunLog> log_;  // First rank only.
  bool rate_shown_ = false;
};

}  // namespace tec

#endif  // TEC_RUN_RUN_REPORT_H_
