// Numbers in and out of tensor views, without LibTorch: what a conversion between naming schemes needs.

#ifndef TEC_CHECKPOINT_ELEMENTS_H_
#define TEC_CHECKPOINT_ELEMENTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

bool IsFloatingPoint(DType dtype);

// The elements as float32 (float64) values, in order; pages of a mapped file are released. Any type; float64 and 64-bit
// integers are rounded to the nearest.
std::vector<float> FloatsOf(const TensorView& tensor);
std::vector<double> DoublesOf(const TensorView& tensor);

// `tensor` as another floating-point type, rounded to the nearest, ties to even; the tensor itself if it has that type.
// Both types must be floating-point (our own mistake otherwise). Values too large for kFloat16 become infinite.
TensorView Cast(const TensorView& tensor, DType dtype);

}  // namespace tec

#endif  // TEC_CHECKPOINT_ELEMENTS_H_
