#include "tec/nn/frozen_layout.h"

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/modules.h"
#include "tec/nn/product.h"
#include "tec/testing/fused_comparison.h"

namespace tec {
namespace {

using testing::WaveOf;

TEST(FrozenLayoutTest, TurnsTheWeightsRoundAndChangesNothingElse) {
  Block block(12, 3, {});
  for (at::Tensor& parameter : block.parameters()) {
    parameter.set_requires_grad(false);
    parameter.copy_(WaveOf(parameter.sizes(), 0.3));
  }
  const at::Tensor x = WaveOf({2, 5, 12}, 0.7).to(at::kFloat), before = block.forward(x);
  LayOutForward(block);
  const at::Tensor& weight = block.mlp->fc1->weight;
  EXPECT_EQ(weight.sizes(), at::IntArrayRef({48, 12}));
  EXPECT_EQ(weight.strides(), HasBfloat16Instructions() ? at::IntArrayRef({1, 48}) : at::IntArrayRef({12, 1}));
  EXPECT_TRUE(at::equal(weight, WaveOf({48, 12}, 0.3).to(at::kFloat)));
  EXPECT_TRUE(block.mlp->fc1->bias.is_contiguous());
  EXPECT_EQ(block.named_parameters()["mlp.fc1.weight"].strides(), weight.strides());
  // Sums of at most 48 terms of order one in another order.
  EXPECT_LE((block.forward(x) - before).abs().max().item<double>(), 1e-5 * before.abs().max().item<double>());
}

TEST(FrozenLayoutDeathTest, RefusesAModelThatLearns) {
  Mlp mlp(3, 4, Activation::kGelu, nullptr);
  EXPECT_DEATH(LayOutForward(mlp), "a model that learns");
}

}  // namespace
}  // namespace tec
