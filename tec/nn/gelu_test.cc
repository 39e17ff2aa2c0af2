#include "tec/nn/gelu.h"

#include <cmath>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/bfloat16_bits.h"
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

// Every bfloat16 there is, times gradients of both signs. The last rounding, to 8 bits, is 2^-8 of the value, or of the
// smallest normal number; two to float32 come before.
TEST(GeluTest, IsRightForEveryBFloat16) {
  constexpr double kRelative = 0x1p-8 * (1 + 0x1p-12);
  for (const float gradient : {1.0f, -3.0f, 0.015625f}) {
    const at::Tensor h = at::arange(1 << 16, at::kInt).to(at::kShort).view(at::kBFloat16).view({64, 1024});
    const at::Tensor x = h.detach().clone().requires_grad_(true), bias = at::zeros({1024}).requires_grad_(true);
    GeluWithBiasGradient(x, bias).backward(at::full_like(h, gradient));
    const at::Tensor found = x.grad().to(at::kDouble).view(-1);
    for (int64_t bits = 0; bits < 1 << 16; ++bits) {
      const double v = FloatOfBits(static_cast<uint16_t>(bits)), is = found[bits].item<double>();
      const double slope = 0.5 * std::erfc(-v * M_SQRT1_2) + v * std::exp(-0.5 * v * v) / std::sqrt(2 * M_PI);
      const double expected = slope * gradient;
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(is)) << bits;
        EXPECT_FALSE(std::isfinite(v)) << bits;
      } else {
        EXPECT_NEAR(is, expected, kRelative * std::max(std::abs(expected), 0x1p-126)) << bits << " " << v;
      }
    }
  }
}

// The table's user without a bias's gradient, and rows of odd widths, give the same.
TEST(GeluTest, SumsWhatItHasRounded) {
  for (const int64_t width : {1, 7, 33, 3072}) {
    const at::Tensor h = (WaveOf({70, width}, 0.37) * 2).to(at::kBFloat16),
                     d = WaveOf({70, width}, 0.7).to(at::kBFloat16);
    const at::Tensor x = h.clone().requires_grad_(true), y = h.clone().requires_grad_(true);
    const at::Tensor bias = at::zeros({width}, at::kFloat).requires_grad_(true);
    GeluWithBiasGradient(x, bias).backward(d);
    GeluWithBiasGradient(y, {}).backward(d);
    EXPECT_TRUE(at::equal(x.grad(), y.grad())) << width;
    // 70 terms below 2 in float32: each sum's rounding at most 2^-24 of 140.
    EXPECT_TRUE(at::allclose(bias.grad(), x.grad().to(at::kDouble).sum(0).to(at::kFloat), 0, 70 * 140 * 0x1p-24))
        << width;
  }
}

TEST(GeluTest, RoundsToBFloat16AsLibTorchDoes) {
  // Halfway cases, subnormal numbers, the overflow to infinity, NaN of any payload.
  for (const uint32_t bits : {0x3f808000u, 0x3f818000u, 0x3f808001u, 0x3f807fffu, 0x00008000u, 0x00018000u, 0x80000001u,
                              0x7f7fffffu, 0x7f800000u, 0xff800000u, 0x7f800001u, 0x7fffffffu, 0xffffffffu}) {
    const at::Tensor value = at::full({1}, static_cast<int32_t>(bits), at::kInt).view(at::kFloat);
    const uint16_t expected = c10::BFloat16(value.item<float>()).x;
    EXPECT_EQ(BitsOfFloat(value.item<float>()), expected) << std::hex << bits;
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
