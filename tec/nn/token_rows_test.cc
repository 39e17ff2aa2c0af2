#include "tec/nn/token_rows.h"

#include <vector>

#include "ATen/ATen.h"
#include "c10/core/GradMode.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::CompareFused;
using testing::kDoubleAndFloat;
using testing::Tensors;
using testing::WaveOf;

// Three of five patches, in another order for each image.
at::Tensor Keep(at::Device device) {
  return at::tensor(std::vector<int64_t>{4, 0, 2, 1, 3, 0}, at::kLong).view({2, 3}).to(device);
}

at::Tensor PlainEmbed(const at::Tensor& token, const at::Tensor& patches, const at::Tensor& keep,
                      const at::Tensor& positions) {
  const at::Tensor places = keep.defined() ? positions.slice(1, 1)
                                                 .expand({patches.size(0), -1, -1})
                                                 .gather(1, keep.unsqueeze(-1).expand({-1, -1, patches.size(2)}))
                                           : positions.slice(1, 1);
  const at::Tensor placed = patches + places;
  return token.defined() ? at::cat({token.expand({patches.size(0), -1, -1}), placed}, 1) : placed;
}

TEST(EmbedTokensTest, HasValuesAndGradientsOfThePlainForm) {
  for (const int64_t width : {1, 5, 16}) {
    for (const bool kept : {false, true}) {
      for (const bool with_token : {false, true}) {
        SCOPED_TRACE(::testing::Message() << width << " kept " << kept << " token " << with_token);
        const Tensors in = {WaveOf({1, 1, width}, 0.3).requires_grad_(true),
                            WaveOf({2, kept ? 3 : 5, width}, 0.7).requires_grad_(true), WaveOf({1, 6, width}, 0.5)};
        const auto call = [&](const Tensors& in, const auto& function) -> Tensors {
          return {
              function(with_token ? in[0] : at::Tensor(), in[1], kept ? Keep(in[1].device()) : at::Tensor(), in[2])};
        };
        CompareFused(
            in, kDoubleAndFloat, [&](const Tensors& in) { return call(in, EmbedTokens); },
            [&](const Tensors& in) { return call(in, PlainEmbed); });
        const Tensors single = {in[0].detach().to(at::kFloat), in[1].detach().to(at::kFloat), in[2].to(at::kFloat)};
        EXPECT_TRUE(BitEqual(call(single, EmbedTokens)[0], call(single, PlainEmbed)[0]));
      }
    }
  }
}

TEST(EmbedTokensTest, TakesPatchesOfLowPrecisionAndGivesTheirGradientInIt) {
  at::Tensor patches = WaveOf({2, 5, 8}, 0.7).to(at::kBFloat16).requires_grad_(true);
  const at::Tensor positions = WaveOf({1, 6, 8}, 0.5).to(at::kFloat), token = WaveOf({1, 1, 8}, 0.3).to(at::kFloat);
  const at::Tensor out = EmbedTokens(token, patches, {}, positions);
  EXPECT_TRUE(BitEqual(out, PlainEmbed(token, patches.detach().to(at::kFloat), {}, positions)));
  out.square().sum().backward();
  EXPECT_EQ(patches.grad().scalar_type(), at::kBFloat16);
  EXPECT_TRUE(BitEqual(patches.grad(), (2 * out.detach()).slice(1, 1).to(at::kBFloat16)));
}

TEST(EmbedTokensDeathTest, SaysWhatDoesNotFit) {
  EXPECT_DEATH(EmbedTokens({}, at::zeros({2, 3, 4}), {}, at::zeros({1, 6, 4})), "patches \\[2, 3, 4\\]");
}

TEST(MeanOfOutputsTest, IsThatOfTheOutputs) {
  c10::NoGradGuard no_grad;
  for (const at::Device device : testing::Devices()) {
    for (const at::ScalarType low : {at::kFloat, at::kBFloat16}) {
      for (const int64_t first : {0, 1, 3}) {
        const auto make = [&](double frequency) { return WaveOf({2, 7, 20}, frequency).to(device, at::kFloat); };
        const std::vector<at::Tensor> outputs = {make(0.3), make(0.6)};
        const at::Tensor x = make(0.9), branch = make(0.4).to(low);
        const at::Tensor expected =
            ((outputs[0] + outputs[1] + (x + branch.to(at::kFloat))) / 3).slice(1, first).contiguous();
        EXPECT_TRUE(BitEqual(MeanOfOutputs(outputs, {x, branch, {}, {}}, first), expected));
        EXPECT_TRUE(BitEqual(MeanOfOutputs({}, {x, {}, {}, {}}, first), x.slice(1, first).contiguous()));
      }
    }
  }
}

}  // namespace
}  // namespace tec
