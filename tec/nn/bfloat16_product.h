// Products of bfloat16 matrices on processors with instructions for it (AVX512_BF16: AMD from Zen 4 on, Intel's Cooper
// Lake; those with AMX are left to oneDNN), summed in float32.
//
// LibTorch's door to oneDNN writes bfloat16 alone, so a weight's gradient was rounded to 8 bits and then copied into
// float32, which took up to a fifth longer than making it here (docs/results.md). The tests compare this with
// LibTorch's products of float64.

#ifndef TEC_NN_BFLOAT16_PRODUCT_H_
#define TEC_NN_BFLOAT16_PRODUCT_H_

#include "ATen/core/Tensor.h"

namespace tec {

// Whether Bfloat16Product takes these: BF16 of two dimensions, each lying without gaps by rows or by columns, on a CPU
// with the instructions, with enough rows and columns for its tiles.
bool IsForBfloat16Product(const at::Tensor& a, const at::Tensor& b);

// out = a b^T: a [M, K], b [N, K], for which IsForBfloat16Product; out [M, N] F32, contiguous. Each sum is made in an
// order that depends on K alone, whatever the number of threads; denormal numbers of a and b count as zero. No gradient
// is recorded.
void Bfloat16Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out);

}  // namespace tec

#endif  // TEC_NN_BFLOAT16_PRODUCT_H_
