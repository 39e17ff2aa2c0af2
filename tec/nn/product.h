// The matrix products of a Linear, forward and backward, by the quickest library at hand.
//
// LibTorch gives float32 products on the CPU to MKL, which takes AVX2 at most on processors that are not Intel's.
// oneDNN takes what there is: on an AMD EPYC with AVX-512 it reaches about twice MKL's rate (docs/results.md); on a
// processor with AVX2 alone it passes them on to MKL, and the results are the same to the last bit. In bfloat16
// LibTorch calls oneDNN by itself, but writes the bias into the result first and adds the product to it: a quarter
// slower than the product that adds the bias at its end. So large products of float32 go to oneDNN from here whatever
// the processor, those of bfloat16 where there is AVX-512.

#ifndef TEC_NN_PRODUCT_H_
#define TEC_NN_PRODUCT_H_

#include "ATen/core/Tensor.h"

namespace tec {

// Whether this processor has the instructions (AVX-512) for which oneDNN is the quicker one, and without which LibTorch
// gives it no product of bfloat16.
bool HasAvx512();

// Whether Product gives operands like these to oneDNN: F32, or with HasAvx512 BF16, on a CPU, and at least
// kLeastMultiplyAdds of them.
bool IsForOneDnn(const at::Tensor& a, const at::Tensor& b);

// Below it, oneDNN's preparation of a product (10 us) takes longer than what it gains.
inline constexpr int64_t kLeastMultiplyAdds = int64_t{1} << 21;

// a b^T + bias: a [..., K], b [N, K] -> [..., N], all of one type on one device; bias [N] or undefined. Of two
// dimensions, a and b may lie transposed. No gradient is recorded, autocast is not looked at.
at::Tensor Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias = {});

// GELU (by the error function) of it.
at::Tensor ProductGelu(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias);

}  // namespace tec

#endif  // TEC_NN_PRODUCT_H_
