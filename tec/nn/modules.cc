#include "tec/nn/modules.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/attention_weights.h"
#include "tec/nn/autocast.h"
#include "tec/nn/gelu.h"
#include "tec/nn/head_product.h"
#include "tec/nn/low_linear.h"
#include "tec/nn/product.h"
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

// Whether the product of float32 is one of Product's, which autograd and autocast do not see.
bool IsForOneDnnAsItIs(const at::Tensor& x, const at::Tensor& weight) {
  return x.scalar_type() == at::kFloat && ProductType(weight) == at::kFloat && IsForOneDnn(x, weight);
}

}  // namespace

Linear::Linear(const std::vector<int64_t>& weight_sizes) {
  weight = register_parameter("weight", at::empty(weight_sizes));
  bias = register_parameter("bias", at::empty({weight_sizes.front()}));
}

void Linear::SetWorkingWeights(at::Tensor low_weight, at::Tensor low_bias) {
  low_weight_ = std::move(low_weight);
  low_bias_ = std::move(low_bias);
}

bool Linear::HasWorkingWeights() const {
  return low_weight_.defined() && low_weight_.scalar_type() == ProductType(weight) &&
         low_weight_.device() == weight.device();
}

at::Tensor Linear::Rows(const at::Tensor& x, int64_t first, int64_t count) {
  const at::Tensor some = weight.narrow(0, first, count), some_bias = bias.narrow(0, first, count);
  if (!HasWorkingWeights()) {
    if (IsForOneDnnAsItIs(x, some)) return LowLinear(x, some, some_bias, some.detach(), some_bias.detach());
    return at::linear(x, some, some_bias);
  }
  return LowLinear(x.to(low_weight_.scalar_type()).contiguous(), some, some_bias, low_weight_.narrow(0, first, count),
                   low_bias_.narrow(0, first, count));
}

at::Tensor Linear::Apply(const at::Tensor& x, const at::Tensor& trained_bias) {
  if (HasWorkingWeights()) {
    return LowLinear(x.to(low_weight_.scalar_type()).contiguous(), weight, trained_bias, low_weight_, low_bias_);
  }
  if (IsForOneDnnAsItIs(x, weight)) return LowLinear(x, weight, trained_bias, weight.detach(), bias.detach());
  return at::linear(x, weight.flatten(1), trained_bias.defined() ? trained_bias : bias.detach());
}

LayerNorm::LayerNorm(int64_t width, double epsilon, bool rms) : epsilon_(epsilon) {
  weight = register_parameter("weight", at::empty({width}));
  if (!rms) bias = register_parameter("bias", at::empty({width}));
}

at::Tensor LayerNorm::forward(const at::Tensor& x) {
  if (!bias.defined()) return at::rms_norm(x, {weight.size(0)}, weight, epsilon_);
  return at::layer_norm(x, {weight.size(0)}, weight, bias, epsilon_);
}

at::Tensor LayerNorm::forward(const ResidualStream& stream) {
  return bias.defined() ? NormOf(stream, weight, bias, epsilon_, stream.x.scalar_type()).normed : forward(Sum(stream));
}

SumAndNorm LayerNorm::ForProduct(const ResidualStream& stream) {
  if (bias.defined()) return NormOf(stream, weight, bias, epsilon_, ProductType(stream.x));
  const at::Tensor sum = Sum(stream);
  return {sum, forward(sum)};
}

Mlp::Mlp(int64_t in, int64_t hidden, Activation activation, std::shared_ptr<LayerNorm> norm)
    : norm_(std::move(norm)), activation_(activation) {
  const int64_t first = activation == Activation::kSwiGlu ? 2 * hidden : hidden;
  fc1 = register_module("fc1", std::make_shared<Linear>(in, first));
  if (norm_) register_module("norm", norm_);
  fc2 = register_module("fc2", std::make_shared<Linear>(hidden, in));
}

namespace {

// Of a model that does not learn: GELU within the product that it follows, which then writes it alone.
at::Tensor GeluOf(Linear& linear, const at::Tensor& x) {
  const at::Tensor &low = linear.low_weight(), &weight = linear.weight;
  const at::ScalarType type = ProductType(weight);
  const bool copied = low.defined() && low.scalar_type() == type && low.device() == weight.device();
  if (!x.device().is_cpu() || (!copied && type != weight.scalar_type())) return at::gelu(linear.forward(x));
  return ProductGelu(x.to(type).contiguous(), copied ? low : weight, copied ? linear.low_bias() : linear.bias);
}

}  // namespace

at::Tensor Mlp::Hidden(const at::Tensor& x) {
  const auto activate = [&] {
    switch (activation_) {
      case Activation::kGelu:
        if (!c10::GradMode::is_enabled()) return GeluOf(*fc1, x);
        return GeluWithBiasGradient(fc1->WithoutBiasGradient(x), fc1->bias);
      case Activation::kGeluTanh:
        return at::gelu(fc1->forward(x), "tanh");
      case Activation::kQuickGelu: {
        const at::Tensor h = fc1->forward(x);
        return h * at::sigmoid(h * 1.702);
      }
      case Activation::kSwiGlu: {
        const std::vector<at::Tensor> halves = fc1->forward(x).chunk(2, -1);
        return at::silu(halves[0]) * halves[1];
      }
    }
    TEC_CHECK(false) << "no such activation";
    return x;
  };
  return norm_ ? norm_->forward(activate()) : activate();
}

Attention::Attention(int64_t width, int64_t heads, int64_t relative_grid, std::shared_ptr<Rotary> rotary,
                     std::shared_ptr<LayerNorm> norm)
    : heads_(heads), rotary_(std::move(rotary)), norm_(std::move(norm)) {
  qkv = register_module("qkv", std::make_shared<Linear>(width, 3 * width));
  if (norm_) register_module("norm", norm_);
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

at::Tensor Attention::RelativeBias(at::ScalarType type) {
  if (!relative_table_.defined()) return {};
  const bool trained = relative_table_.requires_grad() && c10::GradMode::is_enabled();
  KeptBias& kept = kept_bias_[type];
  if (!trained && kept.bias.defined() && kept.table == relative_table_.const_data_ptr() &&
      kept.version == relative_table_._version()) {
    return kept.bias;
  }
  const int64_t tokens = std::llround(std::sqrt(static_cast<double>(relative_index_.size(0))));
  const at::Tensor bias = relative_table_.index_select(0, relative_index_)
                              .view({tokens, tokens, heads_})
                              .permute({2, 0, 1})
                              .to(type)
                              .contiguous();
  if (!trained) kept = {bias, relative_table_.const_data_ptr(), relative_table_._version()};
  return bias;
}

Attention::Projections Attention::Project(const at::Tensor& x) {
  std::array<at::Tensor, 3> parts = SplitHeads(qkv->WithoutBiasGradient(x), qkv->bias, heads_);
  if (rotary_) return {rotary_->forward(parts[0]), rotary_->forward(parts[1]), std::move(parts[2])};
  return {std::move(parts[0]), std::move(parts[1]), std::move(parts[2])};
}

at::Tensor Attention::Mix(const Projections& p) {
  const bool plain = PlainAttentionIsFaster(p.q);
  const at::Tensor bias = RelativeBias(plain ? at::kFloat : p.q.scalar_type());
  at::Tensor mixed;  // [N, H, T, C/H]
  if (plain) {
    // As in the reference under autocast: products in the low precision, softmax in float32.
    const double scale = 1 / std::sqrt(static_cast<double>(p.q.size(3)));
    const at::Tensor weights = AttentionWeights(HeadProduct(p.q, p.k, HeadOrder::kHeadsFirst), scale, bias);
    mixed = HeadProduct(weights, p.v.transpose(-2, -1), HeadOrder::kRowsFirst);
  } else if (bias.defined()) {
    // Its scale is (C/H)^-1/2 by default.
    mixed = at::scaled_dot_product_attention(p.q, p.k, p.v, bias);
  } else {
    mixed = at::scaled_dot_product_attention(p.q, p.k, p.v);
  }
  mixed = mixed.transpose(1, 2).flatten(2);
  return norm_ ? norm_->forward(mixed) : mixed;
}

Block::Block(int64_t width, int64_t heads, const BlockOptions& options) : post_norm_(options.post_norm) {
  const auto norm = [&](int64_t size) {
    return std::make_shared<LayerNorm>(size, options.norm_epsilon, options.rms_norm);
  };
  norm1 = register_module("norm1", norm(width));
  attn = register_module("attn", std::make_shared<Attention>(width, heads, options.relative_grid, options.rotary,
                                                             options.attention_norm ? norm(width) : nullptr));
  norm2 = register_module("norm2", norm(width));
  const int64_t hidden = options.hidden == 0 ? 4 * width : options.hidden;
  mlp = register_module(
      "mlp", std::make_shared<Mlp>(width, hidden, options.activation, options.mlp_norm ? norm(hidden) : nullptr));
}

Block::Entered Block::Enter(const ResidualStream& stream) {
  if (post_norm_) {
    const at::Tensor x = Sum(stream);
    return {x, attn->Project(x)};
  }
  const SumAndNorm in = norm1->ForProduct(stream);
  return {in.sum, attn->Project(in.normed)};
}

ResidualStream Block::Leave(const Entered& entered, const at::Tensor& attention_scale, const at::Tensor& mlp_scale) {
  const at::Tensor mixed = attn->Mix(entered.p);
  if (post_norm_) {
    const at::Tensor y = Sum({entered.x, norm1->forward(attn->proj->forward(mixed)), attention_scale, {}});
    return {y, norm2->forward(mlp->forward(y)), mlp_scale, {}};
  }
  const SumAndNorm y =
      norm2->ForProduct({entered.x, attn->proj->WithoutBiasGradient(mixed), attention_scale, attn->proj->bias});
  return {y.sum, mlp->fc2->WithoutBiasGradient(mlp->Hidden(y.normed)), mlp_scale, mlp->fc2->bias};
}

BlockList::BlockList(int64_t depth, int64_t width, int64_t heads, const BlockOptions& options) {
  for (int64_t i = 0; i < depth; ++i) {
    blocks.push_back(register_module(std::to_string(i), std::make_shared<Block>(width, heads, options)));
  }
}

ResidualStream BlockList::Through(const at::Tensor& x) {
  ResidualStream stream = {x, {}, {}, {}};
  for (const auto& block : blocks) stream = block->Leave(block->Enter(stream));
  return stream;
}

PatchEmbed::PatchEmbed(int64_t image_size, int64_t patch_size, int64_t width, int64_t channels)
    : image_size_(image_size), patch_size_(patch_size), channels_(channels) {
  proj = register_module("proj", std::make_shared<Projection>(width, channels, patch_size));
}

at::Tensor PatchEmbed::Cut(const at::Tensor& images) const {
  TEC_CHECK(images.dim() == 4 && images.size(1) == channels_ && images.size(2) == image_size_ &&
            images.size(3) == image_size_)
      << "the model takes images of shape [N, " << channels_ << ", " << image_size_ << ", " << image_size_ << "], not "
      << images.sizes();
  const int64_t grid = image_size_ / patch_size_;
  const at::Tensor patches =
      images.reshape({-1, channels_, grid, patch_size_, grid, patch_size_}).permute({0, 2, 4, 1, 3, 5});
  // Reordered and cast for the product in one copy.
  const at::Tensor result = at::empty(patches.sizes(), patches.options().dtype(ProductType(images)));
  result.copy_(patches);
  return result.view({images.size(0), grid * grid, channels_ * patch_size_ * patch_size_});
}

}  // namespace tec
