// At the start of a run on several ranks: that all train the same, from the same.

#ifndef TEC_RUN_RANK_ALIGNMENT_H_
#define TEC_RUN_RANK_ALIGNMENT_H_

#include "absl/status/status.h"
#include "tec/run/run_context.h"
#include "tec/run/run_position.h"
#include "tec/run/task.h"

namespace tec {

// After Task::Open: compares what the task and the run say of themselves (Task::Facts) and the images' names, and gives
// every rank the first one's tensors (Task::Replicated). Nothing for one rank. Errors: CompareFacts', the group's.
absl::Status AlignRanks(RunContext& context, Task& task, const EpochPlan& plan);

}  // namespace tec

#endif  // TEC_RUN_RANK_ALIGNMENT_H_
