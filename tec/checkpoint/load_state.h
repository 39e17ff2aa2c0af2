// A model's tensors from a file, one at a time: the file's are never in memory all at once.

#ifndef TEC_CHECKPOINT_LOAD_STATE_H_
#define TEC_CHECKPOINT_LOAD_STATE_H_

#include "absl/status/status.h"
#include "tec/checkpoint/tensor_view.h"
#include "torch/nn/module.h"

namespace tec {

// As LoadState of tec/nn/module_state.h: all or nothing, with its errors.
absl::Status LoadState(torch::nn::Module& model, const StateDict& state);

}  // namespace tec

#endif  // TEC_CHECKPOINT_LOAD_STATE_H_
