// Further new models of a run inside its checkpoint, so that all of them go on as one: weights and moments among the
// tensors beside the first model's (TrainingState::extra), as further_models.<1, 2,
// ...>.{model,exp_avg,exp_avg_sq}.<name or number>, updates done and loss scaling among the counters and numbers.

#ifndef TEC_TRAIN_FURTHER_STATE_H_
#define TEC_TRAIN_FURTHER_STATE_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"
#include "tec/optim/parameter_groups.h"

namespace tec {

// `number`: from 1.
void AddFurtherState(const TrainingState& further, size_t number, TrainingState* state);

// Model, optimizer and scaler of what AddFurtherState put there; `groups`: of the model's optimizer, which are not in
// the file. InvalidArgument: it is not there, or a moment lacks its other half.
absl::StatusOr<TrainingState> FurtherState(const TrainingState& state, size_t number,
                                           const std::vector<ParameterGroup>& groups);

}  // namespace tec

#endif  // TEC_TRAIN_FURTHER_STATE_H_
