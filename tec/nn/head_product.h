// The products of attention, of each image and head by itself, in bfloat16 on a CPU.
//
// They are small ([65, 32] by [32, 65] and the like) and their operands lie between those of other heads. LibTorch
// copies the operands together, prepares a product for each batch of them and transposes in memory, and so reaches 20
// to 70 % of the processor's rate, copies not counted; where the processor has instructions for them they are
// read where they lie here, and results lie as what follows reads them.

#ifndef TEC_NN_HEAD_PRODUCT_H_
#define TEC_NN_HEAD_PRODUCT_H_

#include "ATen/core/Tensor.h"

namespace tec {

enum class HeadOrder {
  kHeadsFirst,  // In memory [N, H, M, P].
  kRowsFirst,   // In memory [N, M, H, P]: the heads of a token beside one another.
};

// a b^T of every image and head: a [N, H, M, K], b [N, H, P, K] -> [N, H, M, P] in the given order. Gradients are
// recorded, and lie as their operands do: rows first if in these a head's rows are further apart than the heads.
//
// BF16 operands on a CPU with AVX512_BF16 (HasBfloat16Kernels): summed in float32 in an order that depends on K alone,
// rounded once to nearest; denormal numbers count as zero. What has steps along both of its last two dimensions is
// copied first. On a CPU where MultipliesAsFloat32 (product.h): copied into float32, LibTorch's products of these,
// rounded once. All others, and empty ones: LibTorch's matmul, and its result in any order.
at::Tensor HeadProduct(const at::Tensor& a, const at::Tensor& b, HeadOrder order);

}  // namespace tec

#endif  // TEC_NN_HEAD_PRODUCT_H_
