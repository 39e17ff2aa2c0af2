// The residual stream of a transformer: the sum of a branch, the layer norm that comes next and the gradients of both,
// each in one pass over memory.
//
// Between two blocks the stream is a sum that has not been made yet: x + scale * branch. What looks at it next, mostly
// a norm, makes it. Backward goes once over the sum and the gradients and gives those of x, of the branch (in its own
// type) and of every vector that was added to all rows: the norm's weight and bias, and the bias of the matrix that
// made the branch. All is computed in float32 (of float64 in float64); the CPU's and CUDA's kernels do the same, but
// for the order of their sums.

#ifndef TEC_NN_RESIDUAL_NORM_H_
#define TEC_NN_RESIDUAL_NORM_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace tec {

// x + scale * branch.
struct ResidualStream {
  at::Tensor x;            // F32 (or F64) [N, T, C].
  at::Tensor branch;       // [N, T, C], also of a low precision; undefined: zero.
  at::Tensor scale;        // [N], a number an image (drop_path.h), without gradient; undefined: 1.
  at::Tensor branch_bias;  // [C], which went into `branch` without a gradient of its own (linear.h) and gets it here;
                           // undefined: none.
};

// Its first and its second half of images.
std::vector<ResidualStream> Halves(const ResidualStream& stream);

// [N, T, C], of the type of x.
at::Tensor Sum(const ResidualStream& stream);

struct SumAndNorm {
  at::Tensor sum;     // [N, T, C], of the type of x.
  at::Tensor normed;  // Layer norm of `sum` over its last dimension, of `type`.
};

// weight, bias [C]. type: that of x, or a low precision.
SumAndNorm NormOf(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                  at::ScalarType type);

// The layer norm of rows that lie in D tensors [N, S, C] side by side, D * C wide, in G tensors of [N, S, D * C / G]:
// as of their concatenation, which is not made. weight, bias [D * C]; G divides D; D at most 64.
std::vector<at::Tensor> NormOfConcatenation(const std::vector<at::Tensor>& parts, int64_t groups,
                                            const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                            at::ScalarType type);

}  // namespace tec

#endif  // TEC_NN_RESIDUAL_NORM_H_
