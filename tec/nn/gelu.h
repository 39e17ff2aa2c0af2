// GELU, with the gradient of the bias that went into its argument from the same pass as its own.

#ifndef TEC_NN_GELU_H_
#define TEC_NN_GELU_H_

#include "ATen/core/Tensor.h"

namespace tec {

// x/2 (1 + erf(x / sqrt 2)) of h [..., C]. `bias` [C] (or undefined) went into h without a gradient of its own
// (Linear::WithoutBiasGradient): here it gets the sum of h's gradient over all rows. The bias itself is not read.
at::Tensor GeluWithBiasGradient(const at::Tensor& h, const at::Tensor& bias);

}  // namespace tec

#endif  // TEC_NN_GELU_H_
