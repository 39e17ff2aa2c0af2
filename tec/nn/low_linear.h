// A linear map in low precision from a working copy of its weights, kept beside the float32 ones; or in float32, with
// the weights themselves in the copy's place, by the products of product.h, forward and backward.
//
// Autocast casts every weight at every step, forward, and its gradient back, backward. Here nothing is cast: forward
// takes the copy, and backward gives the weight's gradient in float32, on CUDA from the product itself, which is then
// not rounded in between. Where gradients lie in buckets it is made there (gradient_place.h).

#ifndef TEC_NN_LOW_LINEAR_H_
#define TEC_NN_LOW_LINEAR_H_

#include "ATen/core/Tensor.h"

namespace tec {

// x weight^T + bias, as at::linear of low_x, low_weight and low_bias gives it, with the gradients of x, weight and,
// where it is defined, bias.
//
//   x           [..., in]    of the type of low_weight
//   weight      F32 [out, in] or of more dimensions [out, ...]; bias F32 [out] or undefined, for no gradient
//   low_weight  [out, ...], low_bias [out]: rounded copies, or the weight and bias
//               detached; they must not change until backward
at::Tensor LowLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     const at::Tensor& low_weight, const at::Tensor& low_bias);

// That of y = x weight^T: dy [M, out], x [M, in], of one type -> [out, in], F64 of F64 and else F32; written to `place`
// where that is defined.
at::Tensor WeightGradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor place = {});

}  // namespace tec

#endif  // TEC_NN_LOW_LINEAR_H_
