// Numbers in and out of tensor views, without LibTorch: what a conversion between naming schemes needs.

#ifndef TEC_CHECKPOINT_ELEMENTS_H_
#define TEC_CHECKPOINT_ELEMENTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

bool IsFloatingPoint(DType dtype);

// The elements as float32 (float64) values, in order; pages of a mapped file are released. Any type; float64 and 64-bit
// integers are rounded to the nearest.
std::vector<float> FloatsOf(const TensorView& tensor);
std::vector<double> DoublesOf(const TensorView& tensor);

// InvalidArgument if a float32 of an element is no finite number: "NAME has 2 values that are not finite, the first inf
// at [3,5]". Integers are finite. Pages of a mapped file are released.
absl::Status CheckFinite(absl::string_view name, const TensorView& tensor);

// `tensor` as another floating-point type, rounded to the nearest, ties to even; the tensor itself if it has that type.
// Both types must be floating-point (our own mistake otherwise). Values too large for kFloat16 become infinite.
TensorView Cast(const TensorView& tensor, DType dtype);

}  // namespace tec

#endif  // TEC_CHECKPOINT_ELEMENTS_H_
