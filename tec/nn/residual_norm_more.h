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

// Without gradient a sum need not be kept: where it is read once more, its parts are read again and added up to the
// same bits, which in low precision are fewer bytes.

// The norm of a stream, whose sum is not written.
at::Tensor NormAlone(const ResidualStream& stream, const NormParameters& norm, double epsilon, at::ScalarType type);

// As NormOf, of (x + earlier) + branch; the branches of one type.
SumAndNorm NormOfTwoBranches(const at::Tensor& x, const at::Tensor& earlier, const at::Tensor& branch,
                             const NormParameters& norm, double epsilon, at::ScalarType type);

}  // namespace tec

#endif  // TEC_NN_RESIDUAL_NORM_MORE_H_
