// Inside residual_norm: what its autograd functions share.

#ifndef TEC_NN_RESIDUAL_NORM_PASSES_H_
#define TEC_NN_RESIDUAL_NORM_PASSES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "ATen/core/Tensor.h"

namespace tec::residual {

struct Inputs {
  std::vector<at::Tensor> x;  // One tensor where there is a branch.
  at::Tensor branch, scale, weight, bias;
  at::Tensor earlier{};   // A branch of the same type, which x gets before; without scale and gradient.
  bool wants_sum = true;  // Of x and branch.
};

struct Outputs {
  at::Tensor sum;  // Defined where there is a branch and it is wanted.
  std::vector<at::Tensor> normed;
  at::Tensor mean, rstd;
};

// TEC_CHECKs that they fit, and makes them contiguous.
void Prepare(Inputs* in);

Outputs Forward(const Inputs& in, double epsilon, int64_t groups, at::ScalarType type);

// What backward needs of Forward, and the gradients that have come.
struct BackwardInputs {
  std::vector<at::Tensor> sum;  // What the norm saw; empty where no gradient comes through it.
  at::Tensor scale, weight, mean, rstd;
  at::Tensor d_sum, d_more;  // Both of the sum; the second only beside the first.
  std::vector<at::Tensor> d_normed;
  bool has_branch = false;
  at::ScalarType branch_type = at::ScalarType::Undefined;
  bool weight_columns = false, branch_columns = false;
};

struct Gradients {
  std::vector<at::Tensor> d_x;
  at::Tensor d_branch, columns;
};

// `into`: where d_x and d_branch are to be written, if they are written at all and are defined there.
Gradients Backward(const BackwardInputs& in, Gradients into);

// Undefined tensors are none to autograd, which wants them as empty optionals.
using Optional = std::optional<at::Tensor>;

inline at::Tensor TensorOf(const Optional& value) { return value.value_or(at::Tensor()); }
inline Optional OptionalOf(const at::Tensor& tensor) { return tensor.defined() ? Optional(tensor) : std::nullopt; }

}  // namespace tec::residual

#endif  // TEC_NN_RESIDUAL_NORM_PASSES_H_
