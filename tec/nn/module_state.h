// A model's tensors by name: what a checkpoint holds.

#ifndef TEC_NN_MODULE_STATE_H_
#define TEC_NN_MODULE_STATE_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "torch/nn/module.h"

namespace tec {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using TensorMap = std::map<std::string, at::Tensor>;

// Parameters, frozen tables among them, under the reference's names and in its order (that of Python's state_dict). The
// tensors are the model's own, not copies.
NamedTensors NamedState(const torch::nn::Module& model);

// The trainable ones of NamedState.
NamedTensors NamedTrainable(const torch::nn::Module& model);

// Copies `state` into the model, converting dtype and device. All or nothing: if a tensor is missing, unexpected or of
// another shape, nothing is changed and the error (NotFound or InvalidArgument) lists every one of them, with the
// nearest name where one looks like a misspelling.
absl::Status LoadState(torch::nn::Module& model, const TensorMap& state);

}  // namespace tec

#endif  // TEC_NN_MODULE_STATE_H_
