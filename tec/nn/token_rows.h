// Where the rows of tokens begin, meet and end: patches with their positions behind a [CLS] token, sums of branches and
// the mean of blocks' outputs, each in one pass over memory.

#ifndef TEC_NN_TOKEN_ROWS_H_
#define TEC_NN_TOKEN_ROWS_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "tec/nn/residual_norm.h"

namespace tec {

// token: F32 (or F64) [1, 1, C], its position included, or undefined for none; patches [N, V, C], also of a low
// precision; keep I64 [N, V], which patches they are, or undefined for all in order; positions [1, 1+L, C], of the
// type of token -> [N, 1+V, C] ([N, V, C] without token), of that type: token, then each patch plus its position, the
// first of which is the token's.
at::Tensor EmbedTokens(const at::Tensor& token, const at::Tensor& patches, const at::Tensor& keep,
                       const at::Tensor& positions);

// The sum over g of x_g + branch_g, added up in `type`, F32 or F64: [N, S, C]. All of one shape and type, `type` or a
// low precision; as many of each, at most 64. biases [C], which went into the branches without a gradient of their own
// (Linear::WithoutBiasGradient) and get it here, all the same one.
at::Tensor SumOfBranches(const std::vector<at::Tensor>& x, const std::vector<at::Tensor>& branches,
                         const std::vector<at::Tensor>& biases, at::ScalarType type);

// The mean of outputs [N, T, C] of the same type (at most 64) and of `last`, a stream without a scale, over the tokens
// from `first` on: [N, T - first, C]. Without gradient.
at::Tensor MeanOfOutputs(const std::vector<at::Tensor>& outputs, const ResidualStream& last, int64_t first);

}  // namespace tec

#endif  // TEC_NN_TOKEN_ROWS_H_
