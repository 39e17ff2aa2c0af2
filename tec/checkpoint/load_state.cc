#include "tec/checkpoint/load_state.h"

#include "ATen/ops/zeros.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/nn/module_state.h"

namespace tec {

absl::Status LoadState(torch::nn::Module& model, const StateDict& state) {
  // Names and shapes are compared with the help of tensors without memory of their own.
  TensorMap zeros;
  for (const auto& [name, tensor] : state) zeros.emplace(name, at::zeros({}).expand(tensor.shape));
  TEC_RETURN_IF_ERROR(LoadState(model, zeros));
  for (const auto& [name, tensor] : NamedState(model)) CopyConverting(*state.Find(name), tensor);
  return absl::OkStatus();
}

}  // namespace tec
