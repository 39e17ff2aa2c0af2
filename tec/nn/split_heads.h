// Queries, keys and values out of the product that gives all three.

#ifndef TEC_NN_SPLIT_HEADS_H_
#define TEC_NN_SPLIT_HEADS_H_

#include <array>

#include "ATen/core/Tensor.h"

namespace tec {

// x [N, T, 3C], read as [N, T, 3, H, C/H] -> q, k, v, each [N, H, T, C/H], views of x. Backward writes the three
// gradients straight into one of x's shape: each value is copied once, and nothing is filled or added. Three `select`s
// would fill and add a tensor of x's size three times.
//
// `bias` [3C] (or undefined) went into x without a gradient of its own (Linear::WithoutBiasGradient): in the same pass
// it gets the sum of x's gradient over all tokens. The bias itself is not read.
std::array<at::Tensor, 3> SplitHeads(const at::Tensor& x, const at::Tensor& bias, int64_t heads);

}  // namespace tec

#endif  // TEC_NN_SPLIT_HEADS_H_
