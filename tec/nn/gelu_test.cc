#include "tec/nn/gelu.h"

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"

namespace tec {
namespace {

using testing::CompareFused;
using testing::Tensors;
using testing::WaveOf;

TEST(GeluTest, GivesItsArgumentsAndTheBiassGradient) {
  // Rows of one and of many columns; more rows, and longer ones, than a thread takes at once.
  for (const auto& sizes : std::vector<std::vector<int64_t>>{{2, 3, 5}, {1, 1, 1}, {3, 70, 16}, {2, 2, 20001}}) {
    for (const bool low : {false, true}) {
      // bfloat16 has 8 bits; both gradients are rounded to it, and their sum is of some that are.
      const std::vector<testing::FusedTolerance> bfloat16 = {{at::kFloat, 1.0 / 128}};
      CompareFused(
          {(WaveOf(sizes, 0.37) * 2).to(at::kBFloat16).to(at::kDouble).requires_grad_(true),
           WaveOf({sizes.back()}, 0.5).requires_grad_(true)},
          low ? bfloat16 : testing::kDoubleAndFloat,
          [&](const Tensors& in) -> Tensors {
            return {GeluWithBiasGradient(low ? in[0].to(at::kBFloat16) : in[0], in[1])};
          },
          [](const Tensors& in) -> Tensors { return {at::gelu(in[0] + in[1] - in[1].detach())}; });
    }
  }
}

TEST(GeluTest, DoesWithoutABias) {
  const at::Tensor x = WaveOf({2, 3}, 0.4).requires_grad_(true), y = WaveOf({2, 3}, 0.4).requires_grad_(true);
  GeluWithBiasGradient(x, {}).sum().backward();
  at::gelu(y).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), y.grad()));
}

}  // namespace
}  // namespace tec
