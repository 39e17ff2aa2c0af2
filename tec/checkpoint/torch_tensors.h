// Between checkpoint views and LibTorch tensors.

#ifndef TEC_CHECKPOINT_TORCH_TENSORS_H_
#define TEC_CHECKPOINT_TORCH_TENSORS_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

// A view of `tensor`'s elements. No copy if the tensor is contiguous and on the CPU (the view keeps it alive, and sees
// later changes in place); otherwise of a contiguous CPU copy. Any type of DType; our own mistake for others.
TensorView ViewOf(const at::Tensor& tensor);

// A new CPU tensor with a copy of the elements; the pages of a mapped file are released after copying.
at::Tensor TensorOf(const TensorView& view);

// Copies the elements into `tensor` in place, under no-grad, whatever its device. InvalidArgument if shape or type
// differ.
absl::Status CopyInto(const TensorView& view, at::Tensor tensor);

// The same with conversion of the element type; shapes must be equal (our own mistake otherwise).
void CopyConverting(const TensorView& view, at::Tensor tensor);

// ViewOf() each, in order (NamedState of a model). Names must be unique (our own mistake).
StateDict ViewsOf(const std::vector<std::pair<std::string, at::Tensor>>& tensors);
// TensorOf() each: what LoadState, LoadBaseModel and the like take.
std::map<std::string, at::Tensor> TensorsOf(const StateDict& tensors);

}  // namespace tec

#endif  // TEC_CHECKPOINT_TORCH_TENSORS_H_
