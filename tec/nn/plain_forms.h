// What the fused functions of this package replace: the same by LibTorch's operations, one after another.

#ifndef TEC_NN_PLAIN_FORMS_H_
#define TEC_NN_PLAIN_FORMS_H_

#include <vector>

#include "tec/nn/residual_norm.h"

namespace tec::testing {

at::Tensor PlainSum(const ResidualStream& stream);
SumAndNorm PlainNormOf(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias, double epsilon);
std::vector<at::Tensor> PlainNormOfConcatenation(const std::vector<at::Tensor>& parts, int64_t groups,
                                                 const at::Tensor& weight, const at::Tensor& bias, double epsilon);

// x [N, 1+V, W] -> [N, T, W]; the arguments of Unshuffle for one decoder.
at::Tensor PlainUnshuffle(const at::Tensor& x, const at::Tensor& mask_token, const at::Tensor& ids_restore,
                          const at::Tensor& positions);

}  // namespace tec::testing

#endif  // TEC_NN_PLAIN_FORMS_H_
