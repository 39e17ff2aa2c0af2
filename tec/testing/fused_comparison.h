// A fused function beside the plain operations that it replaces: values and gradients, on every device present.
//
//   CompareFused({x.requires_grad_(), bias.requires_grad_()}, kDoubleAndFloat,
//                [](const Tensors& in) -> Tensors { return {Fused(in[0], in[1])}; },
//                [](const Tensors& in) -> Tensors { return {in[0] + in[1]}; });

#ifndef TEC_TESTING_FUSED_COMPARISON_H_
#define TEC_TESTING_FUSED_COMPARISON_H_

#include <functional>
#include <vector>

#include "ATen/core/Tensor.h"

namespace tec::testing {

using Tensors = std::vector<at::Tensor>;

// The CPU, and a CUDA device where there is one.
std::vector<at::Device> Devices();

// About as large as normal draws, a function of its index: float64.
at::Tensor WaveOf(at::IntArrayRef sizes, double frequency);

struct FusedTolerance {
  at::ScalarType type;
  double of_largest;  // Times the largest absolute value of the expected tensor, or times 1 if that is larger.
};

// Float64 but for roundings: 1e-12. Float32: every value here comes from sums of some hundred terms of order one,
// whose rounding errors of 2^-24 each grow with the root of their number and pass through a handful of operations:
// 2^-24 * 20 * 8 is 1e-5.
extern const std::vector<FusedTolerance> kDoubleAndFloat;

// With `inputs` of each type (those that are floating) on each device: `fused` gives the values of `plain`, and the
// gradients of all inputs that require one, to the tolerance. `plain` gets float64 on the CPU. Undefined results are
// passed over in both; an undefined gradient is zero.
void CompareFused(const Tensors& inputs, const std::vector<FusedTolerance>& tolerances,
                  const std::function<Tensors(const Tensors&)>& fused,
                  const std::function<Tensors(const Tensors&)>& plain);

}  // namespace tec::testing

#endif  // TEC_TESTING_FUSED_COMPARISON_H_
