// What the goldens do not cover: the pixel loss, the order inside a patch, dtypes. Feature, relation and soft-target
// losses against the reference: tec/models/tec_model_test.cc, encoder_test.cc.

#include "tec/losses/losses.h"

#include <array>
#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

at::Tensor Wave(at::IntArrayRef sizes, double frequency) {
  int64_t n = 1;
  for (int64_t size : sizes) n *= size;
  return (at::arange(n, at::kDouble) * frequency).cos().to(at::kFloat).view(sizes);
}

TEST(PatchifyTest, OrdersPatchesRowMajorAndTheirValuesRowColumnChannel) {
  constexpr int64_t kPatch = 2, kGrid = 3, kSize = kPatch * kGrid;
  const at::Tensor images = at::arange(2 * 3 * kSize * kSize, at::kFloat).view({2, 3, kSize, kSize});
  const at::Tensor patches = Patchify(images, kPatch);
  ASSERT_EQ(patches.sizes(), at::IntArrayRef({2, kGrid * kGrid, kPatch * kPatch * 3}));
  for (int64_t y = 0; y < kSize; ++y) {
    for (int64_t x = 0; x < kSize; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t patch = y / kPatch * kGrid + x / kPatch;
        const int64_t value = ((y % kPatch) * kPatch + x % kPatch) * 3 + c;
        EXPECT_EQ(patches[1][patch][value].item<float>(), images[1][c][y][x].item<float>());
      }
    }
  }
}

// The formula in plain loops and double.
double ReferencePixelLoss(const at::Tensor& prediction, const at::Tensor& patches, const at::Tensor& mask, bool norm) {
  double sum = 0, removed = 0;
  for (int64_t n = 0; n < patches.size(0); ++n) {
    for (int64_t l = 0; l < patches.size(1); ++l) {
      if (mask[n][l].item<float>() == 0) continue;
      const int64_t values = patches.size(2);
      double mean = 0, square = 0, error = 0;
      for (int64_t i = 0; i < values; ++i) mean += patches[n][l][i].item<double>() / values;
      for (int64_t i = 0; i < values; ++i) square += std::pow(patches[n][l][i].item<double>() - mean, 2);
      const double deviation = std::sqrt(square / (values - 1) + 1e-6);
      for (int64_t i = 0; i < values; ++i) {
        const double pixel = patches[n][l][i].item<double>();
        const double target = norm ? (pixel - mean) / deviation : pixel;
        error += std::pow(prediction[n][l][i].item<double>() - target, 2) / values;
      }
      sum += error;
      ++removed;
    }
  }
  return sum / removed;
}

TEST(PixelLossTest, IsTheFormula) {
  // A nearly flat picture, so that the epsilon shows.
  const at::Tensor images = Wave({2, 3, 4, 4}, 0.9) * 1e-3, prediction = Wave({2, 4, 12}, 0.7);
  const at::Tensor mask = at::tensor({1.0f, 0.0f, 1.0f, 1.0f, 0.0f, 1.0f, 1.0f, 0.0f}).view({2, 4});
  for (const bool norm : {false, true}) {
    const double expected = ReferencePixelLoss(prediction, Patchify(images, 2), mask, norm);
    EXPECT_NEAR(PixelLoss(prediction, images, mask, 2, norm).item<double>(), expected, 1e-5 * expected) << norm;
  }
}

TEST(LossesTest, ReduceInFloat32WhateverTheDtype) {
  const at::Tensor prediction = Wave({2, 5, 8}, 0.3), target = Wave({2, 5, 8}, 0.5), mask = Wave({2, 5}, 0.8).gt(0);
  const at::Tensor rounded = prediction.to(at::kBFloat16);
  const at::Tensor loss = FeatureLoss(rounded, target, mask);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_TRUE(TensorNear(loss, FeatureLoss(rounded.to(at::kFloat), target, mask), 0));
  const at::Tensor logits = Wave({2, 1, 3, 2, 5}, 0.4), relations = Wave({2, 1, 3, 2, 5}, 0.6);
  EXPECT_TRUE(TensorNear(RelationLoss(logits.to(at::kBFloat16), relations, 1.8),
                         RelationLoss(logits.to(at::kBFloat16).to(at::kFloat), relations, 1.8), 0));
}

using testing::CompareFused;
using testing::Tensors;
using testing::WaveOf;

// The formulas by LibTorch's operations, one after another.
at::Tensor PlainFeatureLoss(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask) {
  const auto [variance, mean] = at::var_mean(target, {1}, /*correction=*/1, /*keepdim=*/true);
  const at::Tensor error = (prediction - (target - mean) / (variance + 1e-6).sqrt()).square().mean(-1);
  return (error * mask).sum() / mask.sum();
}
Tensors PlainRelationLosses(const at::Tensor& logits, const at::Tensor& target_logits, double tau) {
  const at::Tensor target = at::log_softmax(target_logits / tau, -1);
  return {-(target.exp() * at::log_softmax(logits, -1)).sum(-1).mean(), -(target.exp() * target).sum(-1).mean()};
}

// bfloat16 has 8 bits; gradients are rounded to it.
const std::vector<testing::FusedTolerance> kBFloat16 = {{at::kFloat, 1.0 / 256}};

TEST(FeatureLossTest, HasValueAndGradientOfThePlainForm) {
  for (const auto& [images, patches, width] : std::vector<std::array<int64_t, 3>>{{2, 5, 8}, {1, 2, 1}, {3, 50, 67}}) {
    for (const bool low : {false, true}) {
      const int64_t skip = low ? 1 : patches % 3;
      at::Tensor mask = WaveOf({images, patches}, 0.8).gt(0).to(at::kDouble);
      mask[0][0] = 1;
      CompareFused(
          {WaveOf({images, patches, width}, 0.3).to(at::kBFloat16).to(at::kDouble).requires_grad_(true),
           WaveOf({images, patches, width}, 0.5), mask},
          low ? kBFloat16 : testing::kDoubleAndFloat,
          [&](const Tensors& in) -> Tensors {
            const at::Tensor prediction = low ? in[0].to(at::kBFloat16) : in[0];
            // Tokens before the patches play no part.
            const at::Tensor more = at::full_like(prediction.slice(1, 0, 1), 7).expand({-1, skip, -1});
            return {FeatureLoss(at::cat({more, prediction}, 1), in[1], in[2]) * 3};
          },
          [](const Tensors& in) -> Tensors { return {PlainFeatureLoss(in[0], in[1], in[2]) * 3}; });
    }
  }
}

TEST(RelationLossTest, HasValueAndGradientOfThePlainForm) {
  for (const auto& sizes : std::vector<std::vector<int64_t>>{{2, 1, 3, 2, 5}, {1, 1, 1, 1, 1}, {3, 1, 7, 4, 67}}) {
    for (const bool low : {false, true}) {
      CompareFused(
          {(WaveOf(sizes, 0.3) * 4).to(at::kBFloat16).to(at::kDouble).requires_grad_(true), WaveOf(sizes, 0.5) * 4},
          low ? kBFloat16 : testing::kDoubleAndFloat,
          [&](const Tensors& in) -> Tensors {
            const RelationLosses losses = RelationLossOf(low ? in[0].to(at::kBFloat16) : in[0], in[1], 1.8);
            EXPECT_FALSE(losses.target_entropy.requires_grad());
            return {losses.loss * 3, losses.target_entropy};
          },
          [](const Tensors& in) -> Tensors {
            const Tensors losses = PlainRelationLosses(in[0], in[1], 1.8);
            return {losses[0] * 3, losses[1]};
          });
    }
  }
}

TEST(FeatureLossTest, IgnoresKeptPatches) {
  const at::Tensor target = Wave({1, 4, 8}, 0.5), mask = at::tensor({0.0f, 1.0f, 1.0f, 0.0f}).view({1, 4});
  const at::Tensor a = Wave({1, 4, 8}, 0.3);
  at::Tensor b = a.clone();
  b[0][0] += 5;
  EXPECT_TRUE(TensorNear(FeatureLoss(b, target, mask), FeatureLoss(a, target, mask), 0));
  b[0][1] += 5;
  EXPECT_FALSE(TensorNear(FeatureLoss(b, target, mask), FeatureLoss(a, target, mask), 1));
}

TEST(RelationLossTest, IsTheTargetsEntropyAtBestAndTauSoftensTheTargetAlone) {
  const at::Tensor logits = Wave({1, 1, 2, 3, 7}, 0.4) * 3;
  const double tau = 1.8;
  const double best = RelationLoss(logits / tau, logits, tau).item<double>();
  EXPECT_NEAR(RelationLossOf(logits, logits, tau).target_entropy.item<double>(), best, 1e-6);
  EXPECT_LT(best, RelationLoss(logits, logits, tau).item<double>());
  EXPECT_LT(best, RelationLoss(logits / tau + Wave({1, 1, 2, 3, 7}, 1.3) * 0.1, logits, tau).item<double>());
}

TEST(LossesDeathTest, RefuseOtherShapes) {
  EXPECT_DEATH(FeatureLoss(at::zeros({1, 4, 8}), at::zeros({1, 4, 6}), at::zeros({1, 4})), "target \\[1, 4, 6\\]");
  EXPECT_DEATH(RelationLoss(at::zeros({1, 1, 2, 3, 7}), at::zeros({1, 1, 2, 3, 8}), 1), "vs");
  EXPECT_DEATH(Patchify(at::zeros({1, 3, 10, 10}), 4), "in patches of 4");
}

}  // namespace
}  // namespace tec
