#include "tec/nn/relation_logits.h"

#include <array>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::CompareFused;
using testing::kDoubleAndFloat;
using testing::TensorNear;
using testing::Tensors;
using testing::WaveOf;

constexpr double kScale = 0.3;

// By LibTorch's operations: queries and keys of all tokens, of which those that are asked for are taken.
at::Tensor PlainLogits(const at::Tensor& tokens, const at::Tensor& weight, const at::Tensor& bias,
                       const at::Tensor& idx, int64_t heads) {
  const int64_t images = tokens.size(0), width = weight.size(0) / 2;
  const auto qk = at::linear(tokens, weight, bias).view({images, -1, 2, heads, width / heads}).permute({2, 0, 3, 1, 4});
  const at::Tensor all = at::matmul(qk[0], qk[1].transpose(2, 3)) * kScale;  // [N, H, T, T]
  Tensors rows;
  for (int64_t n = 0; n < images; ++n) {
    const at::Tensor which = at::cat({at::zeros({1}, at::kLong), idx[n][0] + 1});
    rows.push_back(all[n].index_select(1, which).slice(2, 1).transpose(0, 1));
  }
  return at::stack(rows).unsqueeze(1);
}

// Different patches, in another order for each image.
at::Tensor IdxOf(int64_t images, int64_t patches, int64_t count) {
  return at::argsort(WaveOf({images, patches}, 0.71), /*stable=*/true, 1, /*descending=*/false)
      .slice(1, 0, count)
      .unsqueeze(1)
      .contiguous();
}

at::Tensor LogitsOf(const Tensors& in, const at::Tensor& idx, int64_t heads) {
  Linear qk(in[1].size(1), in[1].size(0));
  qk.weight = in[1];
  qk.bias = in[2];
  return RelationLogits(qk, in[0], idx.to(in[0].device()), heads, kScale);
}

TEST(RelationLogitsTest, HaveValuesAndGradientsOfThePlainForm) {
  for (const auto& [images, patches, selected, width, heads, head_width] :
       std::vector<std::array<int64_t, 6>>{{2, 5, 3, 4, 2, 3}, {1, 1, 1, 1, 1, 1}, {3, 17, 5, 7, 3, 8}}) {
    const at::Tensor idx = IdxOf(images, patches, selected);
    const int64_t h = heads, out = heads * head_width;
    CompareFused(
        {WaveOf({images, 1 + patches, width}, 0.37).requires_grad_(true),
         WaveOf({2 * out, width}, 0.53).requires_grad_(true), WaveOf({2 * out}, 0.91).requires_grad_(true)},
        kDoubleAndFloat, [&](const Tensors& in) -> Tensors { return {LogitsOf(in, idx, h)}; },
        [&](const Tensors& in) -> Tensors { return {PlainLogits(in[0], in[1], in[2], idx, h)}; });
  }
}

TEST(RelationLogitsTest, TakeWorkingWeightsAndGiveGradientsInTheTypesOfTheirTensors) {
  const at::Tensor idx = IdxOf(2, 9, 4);
  const Tensors values = {WaveOf({2, 10, 8}, 0.37).to(at::kBFloat16), WaveOf({12, 8}, 0.53).to(at::kFloat),
                          WaveOf({12}, 0.91).to(at::kFloat)};
  Tensors found[2];
  for (const bool copies : {false, true}) {
    Linear qk(8, 12);
    const at::Tensor tokens = values[0].clone().requires_grad_(true);
    qk.weight = values[1].clone().requires_grad_(true);
    qk.bias = values[2].clone().requires_grad_(true);
    if (copies) qk.SetWorkingWeights(values[1].to(at::kBFloat16), values[2].to(at::kBFloat16));
    const AutocastGuard autocast(at::kCPU, at::kBFloat16);
    const at::Tensor logits = RelationLogits(qk, tokens, idx, 3, kScale);
    EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
    logits.to(at::kFloat).square().sum().backward();
    found[copies] = {logits.detach(), tokens.grad(), qk.weight.grad(), qk.bias.grad()};
  }
  const std::array<at::ScalarType, 4> types = {at::kBFloat16, at::kBFloat16, at::kFloat, at::kFloat};
  Tensors plain = {values[0].to(at::kDouble).requires_grad_(true), values[1].to(at::kDouble).requires_grad_(true),
                   values[2].to(at::kDouble).requires_grad_(true)};
  const at::Tensor expected = PlainLogits(plain[0], plain[1], plain[2], idx, 3);
  expected.square().sum().backward();
  const Tensors exact = {expected.detach(), plain[0].grad(), plain[1].grad(), plain[2].grad()};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found[1][i].scalar_type(), types[i]) << i;
    EXPECT_TRUE(testing::BitEqual(found[1][i], found[0][i])) << i;
    // Weights, projections, logits and two gradients are each rounded to 8 bits: 5 times half of 2^-8, and as much
    // again for the sums of values of both signs.
    EXPECT_TRUE(TensorNear(found[1][i].to(at::kDouble), exact[i], exact[i].abs().max().item<double>() * 10 / 512)) << i;
  }
}

TEST(RelationLogitsTest, NeedNoGradient) {
  const at::Tensor idx = IdxOf(2, 5, 3);
  const Tensors in = {WaveOf({2, 6, 4}, 0.37), WaveOf({12, 4}, 0.53), WaveOf({12}, 0.91)};
  at::NoGradGuard no_grad;
  EXPECT_TRUE(TensorNear(LogitsOf(in, idx, 2), PlainLogits(in[0], in[1], in[2], idx, 2), 1e-12));
}

TEST(RelationLogitsDeathTest, SaysWhatDoesNotFit) {
  Linear qk(4, 12);
  EXPECT_DEATH(RelationLogits(qk, at::zeros({2, 6, 4}), at::zeros({1, 1, 3}, at::kLong), 2, 1),
               "heads 2 of \\[12, 4\\], tokens \\[2, 6, 4\\], idx \\[1, 1, 3\\]");
}

}  // namespace
}  // namespace tec
