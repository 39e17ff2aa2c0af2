#include "tec/nn/modules.h"

#include <string>

#include "tec/base/logging.h"

namespace tec {

Linear::Linear(int64_t in, int64_t out) {
  weight = register_parameter("weight", at::empty({out, in}));
  bias = register_parameter("bias", at::empty({out}));
}

at::Tensor Linear::forward(const at::Tensor& x) { return at::linear(x, weight, bias); }

LayerNorm::LayerNorm(int64_t width, double epsilon) : epsilon_(epsilon) {
  weight = register_parameter("weight", at::empty({width}));
  bias = register_parameter("bias", at::empty({width}));
}

at::Tensor LayerNorm::forward(const at::Tensor& x) {
  return at::layer_norm(x, {weight.size(0)}, weight, bias, epsilon_);
}

Mlp::Mlp(int64_t in, int64_t hidden) {
  fc1 = register_module("fc1", std::make_shared<Linear>(in, hidden));
  fc2 = register_module("fc2", std::make_shared<Linear>(hidden, in));
}

at::Tensor Mlp::forward(const at::Tensor& x) { return fc2->forward(at::gelu(fc1->forward(x))); }

Attention::Attention(int64_t width, int64_t heads) : heads_(heads) {
  qkv = register_module("qkv", std::make_shared<Linear>(width, 3 * width));
  proj = register_module("proj", std::make_shared<Linear>(width, width));
}

Attention::Projections Attention::Project(const at::Tensor& x) {
  const int64_t images = x.size(0), tokens = x.size(1), width = x.size(2);
  const at::Tensor all = qkv->forward(x).reshape({images, tokens, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4});
  return {all[0], all[1], all[2]};
}

at::Tensor Attention::Attend(const Projections& p) {
  // Its scale is (C/H)^-1/2 by default.
  const at::Tensor mixed = at::scaled_dot_product_attention(p.q, p.k, p.v);  // [N, H, T, C/H]
  return proj->forward(mixed.transpose(1, 2).flatten(2));
}

Block::Block(int64_t width, int64_t heads) {
  norm1 = register_module("norm1", std::make_shared<LayerNorm>(width));
  attn = register_module("attn", std::make_shared<Attention>(width, heads));
  norm2 = register_module("norm2", std::make_shared<LayerNorm>(width));
  mlp = register_module("mlp", std::make_shared<Mlp>(width, 4 * width));
}

at::Tensor Block::forward(const at::Tensor& x) {
  const at::Tensor y = x + attn->forward(norm1->forward(x));
  return y + mlp->forward(norm2->forward(y));
}

at::Tensor Block::forward(const at::Tensor& x, const at::Tensor& attention_scale, const at::Tensor& mlp_scale) {
  const at::Tensor y = x + attn->forward(norm1->forward(x)) * attention_scale.view({-1, 1, 1});
  return y + mlp->forward(norm2->forward(y)) * mlp_scale.view({-1, 1, 1});
}

BlockList::BlockList(int64_t depth, int64_t width, int64_t heads) {
  for (int64_t i = 0; i < depth; ++i) {
    blocks.push_back(register_module(std::to_string(i), std::make_shared<Block>(width, heads)));
  }
}

at::Tensor BlockList::forward(at::Tensor x) {
  for (const auto& block : blocks) x = block->forward(x);
  return x;
}

PatchEmbed::PatchEmbed(int64_t image_size, int64_t patch_size, int64_t width)
    : image_size_(image_size), patch_size_(patch_size) {
  proj = std::make_shared<Projection>();
  proj->weight = proj->register_parameter("weight", at::empty({width, 3, patch_size, patch_size}));
  proj->bias = proj->register_parameter("bias", at::empty({width}));
  register_module("proj", proj);
}

at::Tensor PatchEmbed::Cut(const at::Tensor& images) const {
  TEC_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) == image_size_ && images.size(3) == image_size_)
      << "the model takes images of shape [N, 3, " << image_size_ << ", " << image_size_ << "], not " << images.sizes();
  const int64_t grid = image_size_ / patch_size_;
  return images.reshape({-1, 3, grid, patch_size_, grid, patch_size_})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({images.size(0), grid * grid, 3 * patch_size_ * patch_size_});
}

at::Tensor PatchEmbed::Embed(const at::Tensor& patches) {
  return at::linear(patches, proj->weight.flatten(1), proj->bias);
}

}  // namespace tec
