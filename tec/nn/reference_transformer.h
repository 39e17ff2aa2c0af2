// The transformer's parts written for reading and in float64, from the formulas of recipe.md section 1: what the layers
// of modules.h are compared with. Weights come from a state dict, under the reference's names.

#ifndef TEC_NN_REFERENCE_TRANSFORMER_H_
#define TEC_NN_REFERENCE_TRANSFORMER_H_

#include <map>
#include <string>

#include "ATen/core/Tensor.h"

namespace tec::testing {

using State = std::map<std::string, at::Tensor>;

// Every tensor in float64, without gradient.
State ToDouble(const State& state);

// x weight^T + bias, of `prefix`.weight and `prefix`.bias; likewise below.
at::Tensor ReferenceLinear(const State& state, const std::string& prefix, const at::Tensor& x);
at::Tensor ReferenceLayerNorm(const State& state, const std::string& prefix, const at::Tensor& x, double epsilon);
// x [N, T, C]. The softmax of all T x T logits is made, head by head.
at::Tensor ReferenceAttention(const State& state, const std::string& prefix, const at::Tensor& x, int64_t heads);
at::Tensor ReferenceMlp(const State& state, const std::string& prefix, const at::Tensor& x);
at::Tensor ReferenceBlock(const State& state, const std::string& prefix, const at::Tensor& x, int64_t heads);
// Blocks `prefix`.0, `prefix`.1, ... as many as there are.
at::Tensor ReferenceBlocks(const State& state, const std::string& prefix, at::Tensor x, int64_t heads);
// images [N, 3, S, S] -> [N, L, C], by a convolution.
at::Tensor ReferencePatchEmbed(const State& state, const at::Tensor& images);

}  // namespace tec::testing

#endif  // TEC_NN_REFERENCE_TRANSFORMER_H_
