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

at::Tensor PlainSumOfBranches(const Tensors& x, const Tensors& branches, at::ScalarType type) {
  at::Tensor sum;
  for (size_t i = 0; i < x.size(); ++i) {
    const at::Tensor pair = x[i].to(type) + branches[i].to(type);
    sum = i == 0 ? pair : sum + pair;
  }
  return sum;
}

TEST(SumOfBranchesTest, HasValuesAndGradientsOfThePlainForm) {
  for (const size_t groups : {1, 2, 5}) {
    for (const int64_t width : {1, 5, 16}) {
      SCOPED_TRACE(::testing::Message() << groups << " of " << width);
      Tensors in;  // x, branch and bias of each group.
      for (size_t g = 0; g < groups; ++g) {
        const double frequency = 0.3 + 0.17 * static_cast<double>(g);
        in.push_back(WaveOf({2, 3, width}, frequency).requires_grad_(true));
        in.push_back(WaveOf({2, 3, width}, frequency + 0.05).requires_grad_(true));
        in.push_back(WaveOf({width}, frequency + 0.09).requires_grad_(true));
      }
      const auto run = [&](const Tensors& in, bool plain) -> Tensors {
        Tensors x, branches, biases;
        for (size_t g = 0; g < groups; ++g) {
          const at::Tensor &branch = in[3 * g + 1], &bias = in[3 * g + 2];
          x.push_back(in[3 * g]);
          branches.push_back(plain ? branch + bias : branch + bias.detach());
          biases.push_back(bias);
        }
        const at::ScalarType type = in[0].scalar_type();
        return {plain ? PlainSumOfBranches(x, branches, type) : SumOfBranches(x, branches, biases, type)};
      };
      CompareFused(
          in, kDoubleAndFloat, [&](const Tensors& in) { return run(in, false); },
          [&](const Tensors& in) { return run(in, true); });
      Tensors single;
      for (const at::Tensor& tensor : in) single.push_back(tensor.detach().to(at::kFloat));
      EXPECT_TRUE(BitEqual(run(single, false)[0], run(single, true)[0]));
    }
  }
}

TEST(SumOfBranchesTest, AddsUpLowPrecisionInFloat32AndGivesItsGradientInIt) {
  const auto make = [](double frequency) {
    return WaveOf({2, 5, 8}, frequency).to(at::kBFloat16).requires_grad_(true);
  };
  const Tensors x = {make(0.3), make(0.7)}, branches = {make(0.4), make(0.9)},
                biases = {at::zeros({8}).requires_grad_(true), at::ones({8}).requires_grad_(true)};
  const at::Tensor sum = SumOfBranches(x, branches, biases, at::kFloat);
  EXPECT_TRUE(BitEqual(sum, PlainSumOfBranches({x[0].detach(), x[1].detach()},
                                               {branches[0].detach(), branches[1].detach()}, at::kFloat)));
  sum.square().sum().backward();
  const at::Tensor d = (2 * sum.detach()).to(at::kBFloat16);
  for (const at::Tensor& tensor : {x[0], x[1], branches[0], branches[1]}) EXPECT_TRUE(BitEqual(tensor.grad(), d));
  for (const at::Tensor& bias : biases) {
    EXPECT_TRUE(BitEqual(bias.grad(), at::sum(d.view({10, 8}), 0, false, at::kFloat)));
  }
  // Each has one of its own, to which more is added.
  biases[0].mutable_grad().add_(1);
  EXPECT_FALSE(BitEqual(biases[0].grad(), biases[1].grad()));
}

TEST(SumOfBranchesDeathTest, SaysWhatDoesNotFit) {
  EXPECT_DEATH(SumOfBranches({at::zeros({1, 2, 4})}, {at::zeros({1, 2, 5})}, {}, at::kFloat),
               "\\[1, 2, 5\\] beside Float \\[1, 2, 4\\]");
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
