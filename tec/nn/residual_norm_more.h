// Forms of residual_norm.h for streams that are used in more than one place, where autograd would add up or put
// together whole gradients that the backward pass can take as they are.

#ifndef TEC_NN_RESIDUAL_NORM_MORE_H_
#define TEC_NN_RESIDUAL_NORM_MORE_H_

#include <array>

#include "ATen/core/Tensor.h"
#include "tec/nn/residual_norm.h"

namespace tec {

struct SumTwiceAndNorm {
  at::Tensor sum, again;  // The same numbers; a gradient of each goes into the one pass of backward.
  at::Tensor normed;
};

// As NormOf, for a sum that somebody else looks at too: a latent of the encoder.
SumTwiceAndNorm NormOfShared(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias,
                             double epsilon, at::ScalarType type);

struct NormParameters {
  at::Tensor weight, bias;  // [C]
};

// Of a stream of two halves of images (residual_norm.h, Halves), of which each goes on alone: the norm of each by its
// own parameters. Backward writes both gradients into one.
std::array<at::Tensor, 2> NormsOfHalves(const ResidualStream& stream, const std::array<NormParameters, 2>& parameters,
                                        double epsilon, at::ScalarType type);

}  // namespace tec

#endif  // TEC_NN_RESIDUAL_NORM_MORE_H_
