// Whether a run can go on from a state at all.

#ifndef TEC_CHECKPOINT_FINITE_STATE_H_
#define TEC_CHECKPOINT_FINITE_STATE_H_

#include "absl/status/status.h"
#include "tec/checkpoint/training_state.h"

namespace tec {

// InvalidArgument if a weight, its average, a moment of the optimiser or the loss scale is no finite number, naming the
// file, the tensor and the place, and from what to go on instead. One read through the file; nothing is kept in memory.
//
// A linear probe's state is not looked at: of its heads, each with a rate of its own, some may have diverged.
absl::Status CheckFinite(const LoadedState& loaded);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FINITE_STATE_H_
