// The masked autoencoder against a readable float64 version of recipe.md section 15: patch by patch, no shuffling.

#include "tec/models/mae_model.h"

#include <vector>

#include "gtest/gtest.h"
#include "tec/losses/losses.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/nn/reference_transformer.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

// Values are of order one: float32 rounding through a few blocks.
constexpr double kTolerance = 2e-5;

constexpr int64_t kSize = 12, kPatch = 4, kPatches = 9, kWidth = 24, kHeads = 2, kDecoderWidth = 16, kDecoderHeads = 4;

MaeOptions Options() { return {{kSize, kPatch, kWidth, 2, kHeads}, {kDecoderWidth, 2, kDecoderHeads}}; }

at::Tensor Images() {
  return (at::arange(2 * 3 * kSize * kSize, at::kDouble) * 0.37).cos().to(at::kFloat).view({2, 3, kSize, kSize});
}
at::Tensor Noise() { return (at::arange(2 * kPatches, at::kDouble) * 1.7).cos().to(at::kFloat).view({2, kPatches}); }

// A patch is kept if fewer than `visible` patches of its image have smaller noise.
bool Kept(const at::Tensor& noise, int64_t image, int64_t patch, int64_t visible) {
  return noise[image].lt(noise[image][patch]).sum().item<int64_t>() < visible;
}

// Prediction [N, L, P*P*3]. Self-attention does not care about the order of its tokens.
at::Tensor ReferenceMae(const testing::State& state, const at::Tensor& images, const at::Tensor& noise,
                        int64_t visible) {
  const at::Tensor patches = testing::ReferencePatchEmbed(state, images);
  const at::Tensor& positions = state.at("pos_embed");
  std::vector<at::Tensor> predictions;
  for (int64_t n = 0; n < images.size(0); ++n) {
    std::vector<at::Tensor> tokens = {state.at("cls_token")[0][0]};
    for (int64_t l = 0; l < patches.size(1); ++l) {
      if (Kept(noise, n, l, visible)) tokens.push_back(patches[n][l] + positions[0][1 + l]);
    }
    at::Tensor x = testing::ReferenceBlocks(state, "blocks", at::stack(tokens).unsqueeze(0), kHeads);
    x = testing::ReferenceLayerNorm(state, "norm", x, 1e-6);
    x = testing::ReferenceLinear(state, "decoder_embed", x)[0];
    std::vector<at::Tensor> all = {x[0]};
    int64_t next = 1;
    for (int64_t l = 0; l < patches.size(1); ++l) {
      all.push_back(Kept(noise, n, l, visible) ? x[next++] : state.at("mask_token")[0][0]);
    }
    const at::Tensor start = at::stack(all).unsqueeze(0) + state.at("decoder_pos_embed");
    const at::Tensor decoded = testing::ReferenceLayerNorm(
        state, "decoder_norm", testing::ReferenceBlocks(state, "decoder_blocks", start, kDecoderHeads), 1e-6);
    predictions.push_back(testing::ReferenceLinear(state, "decoder_pred", decoded)[0].slice(0, 1));
  }
  return at::stack(predictions);
}

TEST(MaeModelTest, MatchesTheReadableReference) {
  MaeModel model(Options());
  InitialisePretraining(model, 3);
  testing::State state;
  {
    at::NoGradGuard no_grad;  // Biases and norms other than 0 and 1: a missing one must show.
    for (const auto& [name, tensor] : NamedTrainable(model)) {
      at::Tensor(tensor).add_((at::arange(tensor.numel(), at::kFloat).cos() * 0.1).view(tensor.sizes()));
    }
  }
  for (const auto& [name, tensor] : NamedState(model)) state.emplace(name, tensor);
  state = testing::ToDouble(state);
  const double ratio = 0.6;
  const int64_t visible = 3;  // int(9 * 0.4)
  const MaeOutput output = model.forward(Images(), Noise(), ratio);
  EXPECT_EQ(output.mask.sum().item<int64_t>(), 2 * (kPatches - visible));
  for (int64_t l = 0; l < kPatches; ++l) {
    EXPECT_EQ(output.mask[1][l].item<float>(), Kept(Noise(), 1, l, visible) ? 0 : 1);
  }
  EXPECT_TRUE(
      TensorNear(output.prediction, ReferenceMae(state, Images(), Noise(), visible).to(at::kFloat), kTolerance));

  PixelLoss(output.prediction, Images(), output.mask, kPatch, /*norm_pix=*/true).backward();
  for (const auto& [name, tensor] : NamedTrainable(model)) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_TRUE(tensor.grad().isfinite().all().item<bool>()) << name;
  }
}

TEST(MaeModelTest, HasTheReferencesNamesInItsOrder) {
  MaeModel model(Options());
  std::vector<std::string> order;
  for (const auto& [name, tensor] : NamedState(model)) {
    const std::string top = name.substr(0, name.find('.'));
    if (order.empty() || order.back() != top) order.push_back(top);
  }
  EXPECT_EQ(order, (std::vector<std::string>{"cls_token", "pos_embed", "mask_token", "decoder_pos_embed", "patch_embed",
                                             "blocks", "norm", "decoder_embed", "decoder_blocks", "decoder_norm",
                                             "decoder_pred"}));
}

}  // namespace
}  // namespace tec
