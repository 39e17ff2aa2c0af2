// Between the running optimiser and its form in a checkpoint: what pretraining and finetuning share.

#ifndef TEC_RUN_OPTIMIZER_STATE_H_
#define TEC_RUN_OPTIMIZER_STATE_H_

#include <optional>

#include "absl/status/status.h"
#include "tec/checkpoint/training_state.h"
#include "tec/dist/replicas.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"

namespace torch::nn {
class Module;
}

namespace tec {

// Views of the optimiser's own tensors, without a copy where they lie on the CPU: to be written before the next step.
// `lr` is the schedule's value of the last update; a group's is lr times its scale. with_lr_scale: the groups carry
// lr_scale, as the reference's have in finetuning and not in pretraining.
OptimizerState OptimizerStateOf(const AdamW& optimizer, double lr, bool with_lr_scale);

// All or nothing. InvalidArgument if groups, numbers of parameters or shapes are not this optimiser's. Hyperparameters
// of the file are not taken over: those of the run count. A parameter without moments in the file starts at zero.
absl::Status LoadOptimizerState(AdamW& optimizer, const OptimizerState& state);

// The model's tensors and the optimiser's, for tec/dist/replicas.h.
ReplicatedTensors ReplicasOf(const torch::nn::Module& model, const AdamW& optimizer);

ScalerState ScalerStateOf(const LossScaler& scaler);
LossScaler::State LossScalerStateOf(const ScalerState& state);

}  // namespace tec

#endif  // TEC_RUN_OPTIMIZER_STATE_H_
