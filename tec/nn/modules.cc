#include "tec/nn/modules.h"

#include <cmath>
#include <string>
#include <utility>

#include "tec/base/logging.h"
#include "tec/nn/split_heads.h"

namespace tec {
namespace {

// LibTorch's fused attention on the CPU makes one small product after another in bfloat16, each of which oneDNN
// prepares anew: forward and backward of 128 images, 4 heads and 17 tokens take 7 times as long as two batched
// products. Those keep the [N, H, T, T] weights in memory, so for many tokens the fused one stays; and where somebody
// has forbidden LibTorch the unfused form (setSDPUseMath), it is not taken here either.
constexpr int64_t kMostTokensOfPlainAttention = 256;

bool PlainAttentionIsFaster(const at::Tensor& q) {
  return q.device().is_cpu() && q.scalar_type() == at::kBFloat16 && q.size(2) <= kMostTokensOfPlainAttention &&
         at::globalContext().userEnabledMathSDP();
}

}  // namespace

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

Mlp::Mlp(int64_t in, int64_t hidden, Activation activation) : activation_(activation) {
  const int64_t first = activation == Activation::kSwiGlu ? 2 * hidden : hidden;
  fc1 = register_module("fc1", std::make_shared<Linear>(in, first));
  fc2 = register_module("fc2", std::make_shared<Linear>(hidden, in));
}

at::Tensor Mlp::forward(const at::Tensor& x) {
  const at::Tensor h = fc1->forward(x);
  switch (activation_) {
    case Activation::kGelu:
      return fc2->forward(at::gelu(h));
    case Activation::kQuickGelu:
      return fc2->forward(h * at::sigmoid(h * 1.702));
    case Activation::kSwiGlu: {
      const std::vector<at::Tensor> halves = h.chunk(2, -1);
      return fc2->forward(at::silu(halves[0]) * halves[1]);
    }
  }
  TEC_CHECK(false) << "no such activation";
  return h;
}

Attention::Attention(int64_t width, int64_t heads, int64_t relative_grid) : heads_(heads) {
  qkv = register_module("qkv", std::make_shared<Linear>(width, 3 * width));
  proj = register_module("proj", std::make_shared<Linear>(width, width));
  if (relative_grid == 0) return;
  const int64_t side = 2 * relative_grid - 1, rows = side * side + 3, patches = relative_grid * relative_grid;
  relative_table_ = register_parameter("relative_position_bias_table", at::empty({rows, heads}));
  const at::Tensor number = at::arange(patches, at::kLong);
  const auto distance = [&](const at::Tensor& place) {  // [L, L]: of the query from the key, from 0 on.
    return place.unsqueeze(1) - place.unsqueeze(0) + (relative_grid - 1);
  };
  at::Tensor index = at::empty({1 + patches, 1 + patches}, at::kLong);
  index.slice(0, 1).slice(1, 1).copy_(distance(number.floor_divide(relative_grid)) * side +
                                      distance(number.remainder(relative_grid)));
  index[0].fill_(rows - 3);
  index.select(1, 0).fill_(rows - 2);
  index[0][0].fill_(rows - 1);
  relative_index_ = register_buffer("relative_position_index", index.flatten());
}

at::Tensor Attention::RelativeBias() const {
  if (!relative_table_.defined()) return {};
  const int64_t tokens = std::llround(std::sqrt(static_cast<double>(relative_index_.size(0))));
  return relative_table_.index_select(0, relative_index_).view({tokens, tokens, heads_}).permute({2, 0, 1});
}

Attention::Projections Attention::Project(const at::Tensor& x) {
  std::array<at::Tensor, 3> parts = SplitHeads(qkv->forward(x), heads_);
  return {std::move(parts[0]), std::move(parts[1]), std::move(parts[2])};
}

at::Tensor Attention::Attend(const Projections& p) {
  const at::Tensor bias = RelativeBias();
  at::Tensor mixed;  // [N, H, T, C/H]
  if (PlainAttentionIsFaster(p.q)) {
    // As in the reference under autocast: products in the low precision, softmax in float32. The scale goes to q, which
    // is smaller than the logits and loses nothing where the width of a head is a power of 4.
    at::Tensor logits = at::matmul(p.q * (1 / std::sqrt(static_cast<double>(p.q.size(3)))), p.k.transpose(-2, -1));
    logits = logits.to(at::kFloat);
    if (bias.defined()) logits = logits + bias;
    mixed = at::matmul(at::softmax(logits, -1).to(p.v.scalar_type()), p.v);
  } else if (bias.defined()) {
    // Its scale is (C/H)^-1/2 by default.
    mixed = at::scaled_dot_product_attention(p.q, p.k, p.v, bias.to(p.q.scalar_type()).contiguous());
  } else {
    mixed = at::scaled_dot_product_attention(p.q, p.k, p.v);
  }
  return proj->forward(mixed.transpose(1, 2).flatten(2));
}

Block::Block(int64_t width, int64_t heads, const BlockOptions& options) {
  norm1 = register_module("norm1", std::make_shared<LayerNorm>(width, options.norm_epsilon));
  attn = register_module("attn", std::make_shared<Attention>(width, heads, options.relative_grid));
  norm2 = register_module("norm2", std::make_shared<LayerNorm>(width, options.norm_epsilon));
  const int64_t hidden = options.hidden == 0 ? 4 * width : options.hidden;
  mlp = register_module("mlp", std::make_shared<Mlp>(width, hidden, options.activation));
}

at::Tensor Block::forward(const at::Tensor& x) {
  const at::Tensor y = x + attn->forward(norm1->forward(x));
  return y + mlp->forward(norm2->forward(y));
}

at::Tensor Block::forward(const at::Tensor& x, const at::Tensor& attention_scale, const at::Tensor& mlp_scale) {
  const at::Tensor y = x + attn->forward(norm1->forward(x)) * attention_scale.view({-1, 1, 1});
  return y + mlp->forward(norm2->forward(y)) * mlp_scale.view({-1, 1, 1});
}

BlockList::BlockList(int64_t depth, int64_t width, int64_t heads, const BlockOptions& options) {
  for (int64_t i = 0; i < depth; ++i) {
    blocks.push_back(register_module(std::to_string(i), std::make_shared<Block>(width, heads, options)));
  }
}

at::Tensor BlockList::forward(at::Tensor x) {
  for (const auto& block : blocks) x = block->forward(x);
  return x;
}

PatchEmbed::PatchEmbed(int64_t image_size, int64_t patch_size, int64_t width, int64_t channels)
    : image_size_(image_size), patch_size_(patch_size), channels_(channels) {
  proj = std::make_shared<Projection>();
  proj->weight = proj->register_parameter("weight", at::empty({width, channels, patch_size, patch_size}));
  proj->bias = proj->register_parameter("bias", at::empty({width}));
  register_module("proj", proj);
}

at::Tensor PatchEmbed::Cut(const at::Tensor& images) const {
  TEC_CHECK(images.dim() == 4 && images.size(1) == channels_ && images.size(2) == image_size_ &&
            images.size(3) == image_size_)
      << "the model takes images of shape [N, " << channels_ << ", " << image_size_ << ", " << image_size_ << "], not "
      << images.sizes();
  const int64_t grid = image_size_ / patch_size_;
  return images.reshape({-1, channels_, grid, patch_size_, grid, patch_size_})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({images.size(0), grid * grid, channels_ * patch_size_ * patch_size_});
}

at::Tensor PatchEmbed::Embed(const at::Tensor& patches) {
  return at::linear(patches, proj->weight.flatten(1), proj->bias);
}

}  // namespace tec
