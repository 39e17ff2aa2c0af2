// The matrix products of a Linear, forward and backward, by the quickest library at hand.
//
// Float32 on the CPU: LibTorch asks MKL, which takes AVX-512 on Intel's processors alone. oneDNN takes what there is:
// on an AMD EPYC with AVX-512 it reaches about twice MKL's rate; on a processor with AVX2 alone it passes them on to
// MKL, and the results are the same to the last bit. On Intel's, MKL is the quicker one, for weights' gradients twice
// as quick. So large products go to oneDNN on every processor but Intel's, where it takes those with GELU alone.
//
// Bfloat16 on the CPU: LibTorch asks oneDNN, where there is AVX-512, but writes the bias into the result first and adds
// the product to it: a quarter slower than the product that adds the bias at its end, which is asked for here. On a
// processor that has AVX-512 and no instructions for bfloat16 (Intel's before Cooper Lake, Ice Lake) oneDNN takes each
// operand apart within the product, a quarter to a third of the rate of float32; LibTorch's own products, without
// AVX-512, are slower still. There the operands are copied into float32, multiplied as such and the result is rounded
// once, which is what instructions for bfloat16 compute. (Figures: docs/results.md.)

#ifndef TEC_NN_PRODUCT_H_
#define TEC_NN_PRODUCT_H_

#include "ATen/core/Tensor.h"

namespace tec {

// Whether this processor multiplies bfloat16 by itself: AVX512_BF16 or AMX.
bool HasBfloat16Instructions();

// BF16 on a CPU that does not: its products are made of float32's.
bool MultipliesAsFloat32(const at::Tensor& x);

// Whether Product gives operands like these to oneDNN: F32 on a processor that is not Intel's, or BF16 with
// HasBfloat16Instructions, on a CPU, and at least kLeastMultiplyAdds of them.
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
