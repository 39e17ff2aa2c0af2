// Stochastic depth: a residual branch is left out for some images and scaled up for the others. (recipe.md
// section 13.1)

#ifndef TEC_NN_DROP_PATH_H_
#define TEC_NN_DROP_PATH_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace tec {

// Rate of each of `depth` blocks: linspace(0, drop_path, depth) as the reference computes it, in float32.
std::vector<double> DropPathRates(double drop_path, int64_t depth);

// floor(1 - rate + uniforms) / (1 - rate), the factor of a branch for each image. uniforms F32 [N] in [0, 1).
at::Tensor DropPathScale(const at::Tensor& uniforms, double rate);
// The same for a table of draws: uniforms F32 [2 * depth, N], rows 2i and 2i + 1 with the rate of block i.
at::Tensor DropPathScales(const at::Tensor& uniforms, const std::vector<double>& rates);

// Draws for those images: F32 [2 * depth, N] in [0, 1); rows 2i and 2i + 1 are for attention and MLP of block i, column
// j a function of (seed, epoch, samples[j]) alone.
at::Tensor DropPathUniforms(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t depth);

}  // namespace tec

#endif  // TEC_NN_DROP_PATH_H_
