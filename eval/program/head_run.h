// What runs that train a head on a frozen encoder share: the linear probe, segmentation's linear head.

#ifndef TEC_EVAL_PROGRAM_HEAD_RUN_H_
#define TEC_EVAL_PROGRAM_HEAD_RUN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "eval/program/frozen_program.h"
#include "tec/run/run_context.h"
#include "tec/run/run_options.h"

namespace tec {

struct HeadRunOptions {
  FrozenSettings frozen;  // output_dir is needed.
  int64_t accum_iter = 1;
  int64_t epochs = 0;
  std::string resume;   // Checkpoint to go on from; empty: the newest of output_dir, if any.
  bool eval = false;    // Only evaluate best_checkpoint.pth of output_dir, or `resume`.
  std::string log_dir;  // Empty: output_dir.
  int64_t print_freq = 20;
  bool quiet = false;
  // Called after each update with the number of updates since epoch 0; true stops the run as a signal would.
  std::function<bool(int64_t updates)> stop_after_update;
  std::optional<bool> read_late;  // As in RunOptions.
};

RunContext::Options ContextOptionsOf(const HeadRunOptions& options);
// `method`: of the checkpoints that it leaves.
LoopOptions LoopOptionsOf(const HeadRunOptions& options, const std::string& method);

// A run that was stopped before its first update or after its last one has nothing to save: `nothing`, with `stopped`
// set, in the place of the error Cancelled.
template <typename Result>
absl::StatusOr<Result> StoppedIfCancelled(absl::StatusOr<Result> result, Result nothing) {
  if (!absl::IsCancelled(result.status())) return result;
  nothing.stopped = true;
  return nothing;
}

}  // namespace tec

#endif  // TEC_EVAL_PROGRAM_HEAD_RUN_H_
