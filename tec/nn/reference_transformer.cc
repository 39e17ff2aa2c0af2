#include "tec/nn/reference_transformer.h"

#include <cmath>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/conv2d.h"
#include "ATen/ops/erf.h"
#include "ATen/ops/matmul.h"

namespace tec::testing {

State ToDouble(const State& state) {
  State result;
  for (const auto& [name, tensor] : state) result.emplace(name, tensor.detach().to(at::kDouble));
  return result;
}

at::Tensor ReferenceLinear(const State& state, const std::string& prefix, const at::Tensor& x) {
  return at::matmul(x, state.at(prefix + ".weight").t()) + state.at(prefix + ".bias");
}

at::Tensor ReferenceLayerNorm(const State& state, const std::string& prefix, const at::Tensor& x, double epsilon) {
  const at::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor variance = (centred * centred).mean(-1, /*keepdim=*/true);
  return centred / (variance + epsilon).sqrt() * state.at(prefix + ".weight") + state.at(prefix + ".bias");
}

at::Tensor ReferenceAttention(const State& state, const std::string& prefix, const at::Tensor& x, int64_t heads) {
  const int64_t width = x.size(2), head_width = width / heads;
  const at::Tensor qkv = ReferenceLinear(state, prefix + ".qkv", x);  // [N, T, 3C]
  std::vector<at::Tensor> mixed;
  for (int64_t h = 0; h < heads; ++h) {
    const at::Tensor q = qkv.narrow(2, h * head_width, head_width);
    const at::Tensor k = qkv.narrow(2, width + h * head_width, head_width);
    const at::Tensor v = qkv.narrow(2, 2 * width + h * head_width, head_width);
    const at::Tensor logits = at::matmul(q, k.transpose(1, 2)) / std::sqrt(static_cast<double>(head_width));
    const at::Tensor weights = logits.exp() / logits.exp().sum(-1, /*keepdim=*/true);
    mixed.push_back(at::matmul(weights, v));
  }
  return ReferenceLinear(state, prefix + ".proj", at::cat(mixed, 2));
}

at::Tensor ReferenceMlp(const State& state, const std::string& prefix, const at::Tensor& x) {
  const at::Tensor hidden = ReferenceLinear(state, prefix + ".fc1", x);
  const at::Tensor gelu = hidden * 0.5 * (1 + at::erf(hidden / std::sqrt(2.0)));
  return ReferenceLinear(state, prefix + ".fc2", gelu);
}

at::Tensor ReferenceBlock(const State& state, const std::string& prefix, const at::Tensor& x, int64_t heads) {
  const at::Tensor y =
      x + ReferenceAttention(state, prefix + ".attn", ReferenceLayerNorm(state, prefix + ".norm1", x, 1e-6), heads);
  return y + ReferenceMlp(state, prefix + ".mlp", ReferenceLayerNorm(state, prefix + ".norm2", y, 1e-6));
}

at::Tensor ReferenceBlocks(const State& state, const std::string& prefix, at::Tensor x, int64_t heads) {
  for (int i = 0; state.count(prefix + "." + std::to_string(i) + ".norm1.weight") != 0; ++i) {
    x = ReferenceBlock(state, prefix + "." + std::to_string(i), x, heads);
  }
  return x;
}

at::Tensor ReferencePatchEmbed(const State& state, const at::Tensor& images) {
  const at::Tensor& weight = state.at("patch_embed.proj.weight");
  return at::conv2d(images.to(at::kDouble), weight, state.at("patch_embed.proj.bias"), weight.size(2))
      .flatten(2)
      .transpose(1, 2);
}

}  // namespace tec::testing
