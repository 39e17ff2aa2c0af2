// The head against PyTorch's modules step by step, and the sliding window against a plain one.
// tools/consumers/dense_test.py compares a whole training with PyTorch's.

#include "eval/dense/dense_head.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "eval/dense/training_pairs.h"
#include "gtest/gtest.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

at::Tensor Wave(at::IntArrayRef sizes, double step) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return at::arange(count, at::kDouble).mul(step).sin().to(at::kFloat).view(sizes);
}

VitOptions Tiny(bool class_token) {
  VitOptions vit;
  vit.image_size = 12;
  vit.patch_size = 4;
  vit.width = 8;
  vit.depth = 2;
  vit.heads = 2;
  vit.variant.class_token = class_token;
  return vit;
}

Encoder MakeTiny(bool class_token) {
  Encoder encoder(Tiny(class_token));
  at::NoGradGuard no_gradient;
  int64_t index = 0;
  for (const auto& [name, tensor] : NamedState(encoder)) {
    tensor.copy_(Wave(tensor.sizes(), 0.37 + 0.11 * static_cast<double>(++index)) * 0.5);
  }
  encoder.eval();
  return encoder;
}

TEST(DenseHeadTest, NamesInitialValuesAndShape) {
  DenseHead head(10, 3, /*seed=*/5);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : NamedState(head)) names.push_back(name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"head.0.bias", "head.0.num_batches_tracked", "head.0.running_mean",
                                             "head.0.running_var", "head.0.weight", "head.1.bias", "head.1.weight"}));
  for (const auto& [name, tensor] : NamedState(head)) {
    if (name != "head.1.weight") continue;
    EXPECT_EQ(tensor.sizes(), (at::IntArrayRef{3, 10, 1, 1}));
    EXPECT_LT(tensor.abs().max().item<double>(), 1 / std::sqrt(10.0));
    EXPECT_GT(tensor.std().item<double>(), 0.5 / std::sqrt(30.0));
  }
  EXPECT_EQ(NamedTrainable(head).size(), 4);
}

TEST(DenseHeadTest, IsBatchNormAndConvolution) {
  DenseHead head(6, 4, /*seed=*/1);
  const at::Tensor tokens = Wave({5, 9, 6}, 0.7);
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : NamedState(head)) state[name] = tensor;
  // Pixio's way: a picture of tokens [N, F, g, g] through BatchNorm2d, Conv2d and interpolate.
  const at::Tensor picture = tokens.permute({0, 2, 1}).reshape({5, 6, 3, 3});
  const at::Tensor mean = picture.mean(at::IntArrayRef{0, 2, 3}, true);
  const at::Tensor variance = (picture - mean).square().mean(at::IntArrayRef{0, 2, 3}, true);
  const at::Tensor convolved =
      at::conv2d((picture - mean) / (variance + 1e-5).sqrt(), state.at("head.1.weight"), state.at("head.1.bias"));
  const at::Tensor expected = at::upsample_bilinear2d(convolved, {12, 12}, /*align_corners=*/true);
  EXPECT_TRUE(TensorNear(head.forward(tokens, 12, /*training=*/true).detach(), expected.detach(), 1e-5));
  EXPECT_TRUE(TensorNear(state.at("head.0.running_mean"), mean.flatten() * 0.1, 1e-6));
  EXPECT_EQ(state.at("head.0.num_batches_tracked").item<int64_t>(), 1);
  // Evaluation uses the running averages and leaves them.
  const at::Tensor before = state.at("head.0.running_var").clone();
  EXPECT_FALSE(at::allclose(head.forward(tokens, 12, /*training=*/false), expected, 1e-3));
  EXPECT_TRUE(BitEqual(state.at("head.0.running_var"), before));
}

TEST(DenseHeadTest, TokensHaveTheClassBesideThem) {
  Encoder encoder = MakeTiny(/*class_token=*/true);
  const at::Tensor images = Wave({2, 3, 12, 12}, 0.05);
  const at::Tensor tokens = DenseTokens(encoder, images);
  ASSERT_EQ(tokens.sizes(), (at::IntArrayRef{2, 9, 16}));
  EXPECT_EQ(DenseWidth(encoder.options()), 16);
  const EncoderFeatures features = encoder.forward(images);
  EXPECT_TRUE(TensorNear(tokens.slice(2, 0, 8).mean(1), features.patch_mean, 1e-6));
  for (int64_t p = 0; p < 9; ++p) EXPECT_TRUE(TensorNear(tokens.slice(2, 8).select(1, p), features.cls, 1e-6));
  EXPECT_FALSE(tokens.requires_grad());
}

TEST(DenseLossTest, CountsPixelsWithAClassAlone) {
  const at::Tensor logits = Wave({1, 3, 2, 2}, 0.9).requires_grad_();
  const at::Tensor places = at::tensor({0, 2, 255, 255}, at::kLong).view({1, 2, 2});
  const at::Tensor log_p = logits.log_softmax(1);
  const double expected = -(log_p[0][0][0][0] + log_p[0][2][0][1]).item<double>() / 2;
  EXPECT_NEAR(DenseLoss(logits, places).item<double>(), expected, 1e-6);
  const at::Tensor nothing = DenseLoss(logits, at::full({1, 2, 2}, int64_t{kNoClass}));
  EXPECT_EQ(nothing.item<double>(), 0);
  nothing.backward();
  EXPECT_EQ(logits.grad().abs().max().item<double>(), 0);
}

// 12-pixel windows every 8 pixels over 20 x 29: the plain way, a window at a time.
TEST(SlidingWindowTest, AddsUpProbabilitiesOfWindows) {
  Encoder encoder = MakeTiny(/*class_token=*/true);
  DenseHead head(16, 5, /*seed=*/3);
  const at::Tensor picture = Wave({3, 20, 29}, 0.013) * 2;
  at::NoGradGuard no_gradient;
  at::Tensor sum = at::zeros({5, 20, 29});
  for (int64_t row = 0; row < 20; row += 8) {
    for (int64_t column = 0; column < 29; column += 8) {
      const int64_t rows = std::min<int64_t>(12, 20 - row), columns = std::min<int64_t>(12, 29 - column);
      at::Tensor window = at::zeros({1, 3, 12, 12});
      window[0].narrow(1, 0, rows).narrow(2, 0, columns).copy_(picture.narrow(1, row, rows).narrow(2, column, columns));
      const at::Tensor p = head.forward(DenseTokens(encoder, window), 12, false).softmax(1)[0];
      sum.narrow(1, row, rows).narrow(2, column, columns).add_(p.narrow(1, 0, rows).narrow(2, 0, columns));
    }
  }
  const at::Tensor places = SlidingWindow(encoder, head, picture, 5, at::kFloat);
  ASSERT_EQ(places.sizes(), (at::IntArrayRef{20, 29}));
  // Sums in another order may differ in the last bit, and equal classes then change places: hardly a pixel.
  EXPECT_GE((places == sum.argmax(0)).sum().item<int64_t>(), 20 * 29 - 2);
  EXPECT_GT(std::get<0>(at::_unique(places)).numel(), 1);
}

}  // namespace
}  // namespace tec
