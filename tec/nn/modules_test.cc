// Layers against their readable float64 counterparts, and under autocast.

#include "tec/nn/modules.h"

#include <cmath>
#include <utility>

#include "gtest/gtest.h"
#include "tec/nn/attention_pool.h"
#include "tec/nn/autocast.h"
#include "tec/nn/encoder_adaptor.h"
#include "tec/nn/module_state.h"
#include "tec/nn/reference_transformer.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

// Values here are of order one and sums have some hundred terms: float32 errors are about 1e-6.
constexpr double kFloatTolerance = 1e-5;
// bfloat16 has 8 bits of mantissa, half an ulp is 2^-9 of a value of up to about 4, and a handful of roundings add up.
constexpr double kBFloat16Tolerance = 0.06;
// A gradient with 10 % of noise, five times what a handful of such roundings makes.
constexpr double kBFloat16Cosine = 0.995;

// A function of its index, about as large as a normal draw.
at::Tensor Wave(at::IntArrayRef sizes, double frequency) {
  int64_t n = 1;
  for (int64_t size : sizes) n *= size;
  return (at::arange(n, at::kDouble) * frequency).cos().mul(1.4).to(at::kFloat).view(sizes);
}

// Distinct values in every parameter, biases and norms too: a missing bias must show.
void FillWithWaves(torch::nn::Module& module) {
  at::NoGradGuard no_grad;
  double frequency = 0.7;
  for (auto& [name, tensor] : NamedState(module)) {
    tensor.copy_(Wave(tensor.sizes(), frequency += 0.31) * (tensor.dim() == 1 ? 0.5 : 0.15));
  }
}

testing::State StateOf(const torch::nn::Module& module, const std::string& prefix) {
  testing::State state;
  for (const auto& [name, tensor] : NamedState(module)) state.emplace(prefix + "." + name, tensor);
  return testing::ToDouble(state);
}

TEST(BlockTest, MatchesTheReadableReference) {
  Block block(12, 3);
  FillWithWaves(block);
  const at::Tensor x = Wave({2, 7, 12}, 0.37);
  const at::Tensor expected = testing::ReferenceBlock(StateOf(block, "b"), "b", x.to(at::kDouble), 3);
  EXPECT_TRUE(TensorNear(block.forward(x), expected.to(at::kFloat), kFloatTolerance));
  // Scales of one change nothing; of zero leave the branch out.
  const at::Tensor one = at::ones({2}), zero = at::zeros({2});
  EXPECT_TRUE(TensorNear(block.forward(x, one, one), block.forward(x), 0));
  EXPECT_TRUE(TensorNear(block.forward(x, zero, zero), x, 0));
}

TEST(AttentionTest, MatchesTheReadableReferenceAtTheLengthsInUse) {
  for (const int64_t tokens : {50, 197}) {
    Attention attention(32, 2);
    FillWithWaves(attention);
    const at::Tensor x = Wave({2, tokens, 32}, 0.83);
    const at::Tensor expected = testing::ReferenceAttention(StateOf(attention, "a"), "a", x.to(at::kDouble), 2);
    EXPECT_TRUE(TensorNear(attention.forward(x), expected.to(at::kFloat), kFloatTolerance)) << tokens;
  }
}

// What only other projects' blocks have, each alone.
TEST(BlockTest, HasTheOptionsOfOtherProjects) {
  constexpr int64_t kWidth = 16, kHeads = 2;
  const at::Tensor x = Wave({2, 6, kWidth}, 0.37), wide = x.to(at::kDouble);
  // The block with `options`, and its state as b.*.
  const auto compare = [&](const BlockOptions& options, const auto& expected) {
    Block block(kWidth, kHeads, options);
    FillWithWaves(block);
    const at::Tensor result = expected(StateOf(block, "b"));
    EXPECT_TRUE(TensorNear(block.forward(x), result.to(at::kFloat), kFloatTolerance));
    EXPECT_TRUE(TensorNear(Sum(block.Leave(block.Enter({x, {}, {}, {}}))), block.forward(x), 0));
    const at::Tensor one = at::ones({2});
    EXPECT_TRUE(TensorNear(block.forward(x, one, one), block.forward(x), 0));
  };
  const auto norm = [](const testing::State& s, const std::string& name, const at::Tensor& y) {
    return testing::ReferenceLayerNorm(s, "b." + name, y, 1e-6);
  };
  const auto attention = [&](const testing::State& s, const at::Tensor& y) {
    return testing::ReferenceAttention(s, "b.attn", y, kHeads);
  };
  const auto linear = [](const testing::State& s, const std::string& name, const at::Tensor& y) {
    return testing::ReferenceLinear(s, "b." + name, y);
  };

  BlockOptions post_norm;
  post_norm.post_norm = true;
  compare(post_norm, [&](const testing::State& s) {
    const at::Tensor y = wide + norm(s, "norm1", attention(s, wide));
    return y + norm(s, "norm2", testing::ReferenceMlp(s, "b.mlp", y));
  });

  BlockOptions rms;
  rms.rms_norm = true;
  compare(rms, [&](const testing::State& s) {
    const auto rms_norm = [&](const std::string& name, const at::Tensor& y) {
      return y / (y.square().mean(-1, true) + 1e-6).sqrt() * s.at("b." + name + ".weight");
    };
    const at::Tensor y = wide + attention(s, rms_norm("norm1", wide));
    return y + testing::ReferenceMlp(s, "b.mlp", rms_norm("norm2", y));
  });

  // SwiGLU with a norm before its last matrix, and tanh's GELU: of a block whose attention is as usual.
  BlockOptions mlp_norm;
  mlp_norm.mlp_norm = true;
  mlp_norm.activation = Activation::kSwiGlu;
  mlp_norm.hidden = 10;
  compare(mlp_norm, [&](const testing::State& s) {
    const at::Tensor y = wide + attention(s, norm(s, "norm1", wide));
    const at::Tensor h = linear(s, "mlp.fc1", norm(s, "norm2", y)), gate = h.slice(2, 0, 10);
    return y + linear(s, "mlp.fc2", norm(s, "mlp.norm", gate / (1 + (-gate).exp()) * h.slice(2, 10)));
  });
  BlockOptions tanh;
  tanh.activation = Activation::kGeluTanh;
  compare(tanh, [&](const testing::State& s) {
    const at::Tensor y = wide + attention(s, norm(s, "norm1", wide));
    const at::Tensor h = linear(s, "mlp.fc1", norm(s, "norm2", y));
    const at::Tensor inner = std::sqrt(2 / M_PI) * (h + 0.044715 * h.pow(3));
    return y + linear(s, "mlp.fc2", 0.5 * h * (1 + inner.tanh()));
  });

  // A norm before attn.proj, and rotary positions: of attention alone.
  Attention normed(kWidth, kHeads, 0, nullptr, std::make_shared<LayerNorm>(kWidth));
  FillWithWaves(normed);
  testing::State state = StateOf(normed, "b.attn");
  testing::State plain = state;
  plain["b.attn.proj.weight"] = at::eye(kWidth, at::kDouble);
  plain["b.attn.proj.bias"] = at::zeros({kWidth}, at::kDouble);
  const at::Tensor mixed = norm(state, "attn.norm", attention(plain, wide));
  EXPECT_TRUE(TensorNear(normed.forward(x), linear(state, "attn.proj", mixed).to(at::kFloat), kFloatTolerance));

  const RotaryGrid grid = {0.5, 2, -1, {0.8, 0.3}};
  Attention turned(kWidth, kHeads, 0, std::make_shared<Rotary>(grid, 2));
  Attention still(kWidth, kHeads);
  FillWithWaves(turned);
  FillWithWaves(still);
  const Attention::Projections p = turned.Project(x), q = still.Project(x);
  EXPECT_TRUE(BitEqual(p.q, Rotary(grid, 2).forward(q.q)));
  EXPECT_TRUE(BitEqual(p.k, Rotary(grid, 2).forward(q.k)));
  EXPECT_TRUE(BitEqual(p.v, q.v));
  EXPECT_FALSE(TensorNear(turned.forward(x), still.forward(x), kFloatTolerance));
}

TEST(AttentionPoolTest, IsTheAttentionOfOneQuery) {
  AttentionPool pool(8, 2, 12, Activation::kGelu, 1e-6);
  FillWithWaves(pool);
  const testing::State s = StateOf(pool, "p");
  const at::Tensor x = Wave({2, 5, 8}, 0.37), kv = testing::ReferenceLinear(s, "p.kv", x.to(at::kDouble));
  const at::Tensor query = s.at("p.query").view({8});
  std::vector<at::Tensor> heads;
  for (int64_t h = 0; h < 2; ++h) {
    const at::Tensor logits = at::matmul(kv.narrow(2, 4 * h, 4), query.narrow(0, 4 * h, 4)) / 2;  // [N, T]
    const at::Tensor weights = logits.exp() / logits.exp().sum(1, true);
    heads.push_back(at::matmul(weights.unsqueeze(1), kv.narrow(2, 8 + 4 * h, 4)).squeeze(1));
  }
  const at::Tensor y = testing::ReferenceLinear(s, "p.proj", at::cat(heads, 1));
  const at::Tensor expected = y + testing::ReferenceMlp(s, "p.mlp", testing::ReferenceLayerNorm(s, "p.norm", y, 1e-6));
  EXPECT_TRUE(TensorNear(pool.forward(x), expected.to(at::kFloat), kFloatTolerance));
}

// Up to 256 tokens bfloat16 takes plain products, beyond LibTorch's fused attention; both with a bias and without.
TEST(AttentionTest, KeepsToTheReferenceInBFloat16) {
  const auto check = [](Attention& attention, int64_t tokens) {
    FillWithWaves(attention);
    const at::Tensor x = Wave({2, tokens, 32}, 0.83);
    const auto run = [&](at::ScalarType precision) {
      attention.zero_grad();
      at::Tensor out;
      {
        AutocastGuard autocast(at::kCPU, precision);
        out = attention.forward(x);
        out.to(at::kFloat).square().mean().backward();
      }
      return std::make_pair(out.detach().to(at::kFloat), attention.qkv->weight.grad().clone());
    };
    const auto [exact, exact_gradient] = run(at::kFloat);
    const auto [rounded, rounded_gradient] = run(at::kBFloat16);
    EXPECT_TRUE(TensorNear(rounded, exact, kBFloat16Tolerance)) << tokens;
    EXPECT_FALSE(TensorNear(rounded, exact, kFloatTolerance)) << tokens << ": not in bfloat16";
    const double cosine = at::cosine_similarity(rounded_gradient.flatten(), exact_gradient.flatten(), 0).item<double>();
    EXPECT_GT(cosine, kBFloat16Cosine) << tokens;
  };
  for (const int64_t tokens : {17, 256, 257}) {
    Attention attention(32, 2);
    check(attention, tokens);
  }
  for (const int64_t grid : {4, 16}) {
    Attention attention(32, 2, grid);
    check(attention, 1 + grid * grid);
  }
}

TEST(AttentionTest, IsBitEqualBetweenEqualRuns) {
  Attention attention(32, 2);
  FillWithWaves(attention);
  const at::Tensor x = Wave({3, 50, 32}, 0.83);
  at::Tensor gradients[2];
  for (at::Tensor& gradient : gradients) {
    attention.zero_grad();
    attention.forward(x).square().sum().backward();
    gradient = attention.qkv->weight.grad().clone();
  }
  EXPECT_TRUE(BitEqual(gradients[1], gradients[0]));
}

TEST(PatchEmbedTest, IsAConvolution) {
  for (const int64_t channels : {3, 1, 5}) {
    PatchEmbed embed(12, 4, 10, channels);
    FillWithWaves(embed);
    const at::Tensor images = Wave({2, channels, 12, 12}, 0.57);
    const at::Tensor expected = testing::ReferencePatchEmbed(StateOf(embed, "patch_embed"), images);
    EXPECT_TRUE(TensorNear(embed.forward(images), expected.to(at::kFloat), kFloatTolerance)) << channels;
    // Patches are independent: some of them give the same values.
    const at::Tensor some = embed.Cut(images).slice(1, 2, 5);
    EXPECT_TRUE(TensorNear(embed.Embed(some), embed.forward(images).slice(1, 2, 5), kFloatTolerance)) << channels;
  }
}

TEST(PatchEmbedDeathTest, SaysWhichShapeItTakes) {
  PatchEmbed embed(12, 4, 8);
  EXPECT_DEATH(embed.forward(at::zeros({2, 3, 12, 16})), "\\[N, 3, 12, 12\\], not \\[2, 3, 12, 16\\]");
  EXPECT_DEATH(embed.forward(at::zeros({2, 1, 12, 12})), "\\[N, 3, 12, 12\\]");
}

TEST(EncoderAdaptorTest, MatchesItsFormula) {
  EncoderAdaptor adaptor(/*depth=*/4, /*width=*/8, /*groups=*/2, /*hidden=*/20);
  FillWithWaves(adaptor);
  std::vector<at::Tensor> latents;
  for (int i = 0; i < 4; ++i) latents.push_back(Wave({2, 5, 8}, 0.3 + 0.2 * i) * 0.01);  // Small: epsilon shows.
  const testing::State state = StateOf(adaptor, "e");
  const at::Tensor x = testing::ReferenceLayerNorm(state, "e.adap_before", at::cat(latents, 2).to(at::kDouble), 1e-5);
  at::Tensor sum = at::zeros({2, 5, 8}, at::kDouble);
  for (int g = 0; g < 2; ++g) {
    const std::string number = std::to_string(g);
    const at::Tensor f = testing::ReferenceLinear(state, "e.fuse_fcs." + number, x.narrow(2, 16 * g, 16));
    sum += f + testing::ReferenceMlp(state, "e.adap_mlps." + number, f);
  }
  const at::Tensor expected = testing::ReferenceLayerNorm(state, "e.adap_after", sum, 1e-5);
  EXPECT_TRUE(TensorNear(adaptor.forward(latents), expected.to(at::kFloat), kFloatTolerance));
}

TEST(AutocastGuardTest, RunsMatrixProductsInBFloat16AndLeavesNothingBehind) {
  Block block(16, 2);
  FillWithWaves(block);
  const at::Tensor x = Wave({2, 9, 16}, 0.29);
  const at::Tensor exact = block.forward(x);
  {
    AutocastGuard autocast(at::kCPU, at::kBFloat16);
    EXPECT_EQ(block.attn->forward(x).scalar_type(), at::kBFloat16);
    const at::Tensor rounded = block.forward(x);
    EXPECT_EQ(rounded.scalar_type(), at::kFloat);  // The residual stream.
    EXPECT_TRUE(TensorNear(rounded, exact, kBFloat16Tolerance));
    EXPECT_FALSE(TensorNear(rounded, exact, kFloatTolerance));
    {
      AutocastGuard off(at::kCPU, at::kFloat);
      EXPECT_TRUE(BitEqual(block.forward(x), exact));
    }
    EXPECT_EQ(block.attn->forward(x).scalar_type(), at::kBFloat16);
  }
  EXPECT_TRUE(BitEqual(block.forward(x), exact));
}

TEST(AutocastGuardTest, ForgetsCastWeightsAtItsEnd) {
  Linear linear(8, 8);
  FillWithWaves(linear);
  const at::Tensor x = Wave({4, 8}, 0.4);
  at::Tensor before, after;
  {
    AutocastGuard autocast(at::kCPU, at::kBFloat16);
    before = linear.forward(x);
  }
  {
    at::NoGradGuard no_grad;
    linear.weight.mul_(2);
    linear.bias.mul_(2);
  }
  {
    AutocastGuard autocast(at::kCPU, at::kBFloat16);
    after = linear.forward(x);
  }
  EXPECT_TRUE(TensorNear(after, before * 2, 0));
}

TEST(AutocastGuardDeathTest, RefusesFloat16OnTheCpu) {
  EXPECT_DEATH(AutocastGuard(at::kCPU, at::kHalf), "no autocast to Half on CPU");
}

}  // namespace
}  // namespace tec
