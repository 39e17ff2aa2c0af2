#include "tec/nn/attention_weights.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/attention_weights_kernels.h"
#include "tec/nn/parallel.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::WaveOf;

// Of bfloat16 and of float32: half of the last of their 8 and 24 bits.
constexpr double kLowUnit = 1.0 / (1 << 8), kUnit = 1.0 / (1 << 24);

struct Case {
  int64_t images, heads, tokens;
  double largest_logit;
  bool with_bias;
};

std::string Name(const Case& c) {
  return std::to_string(c.tokens) + " tokens, logits up to " + std::to_string(c.largest_logit) +
         (c.with_bias ? ", a bias" : "");
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const int64_t tokens : {1, 2, 15, 16, 17, 50, 65, 197, 255}) {
    for (const double largest : {3.0, 40.0, 30000.0}) {
      for (const bool with_bias : {false, true}) cases.push_back({3, 2, tokens, largest, with_bias});
    }
  }
  return cases;
}

struct Operands {
  at::Tensor logits, bias, d_weights;
};

// That of a head of 80, in float32, which no power of 2 is.
constexpr float kScale = 0.1118034f;

Operands OperandsOf(const Case& c) {
  const std::vector<int64_t> sizes = {c.images, c.heads, c.tokens, c.tokens};
  return {(WaveOf(sizes, 0.37) * (c.largest_logit / 1.4)).to(at::kBFloat16),
          c.with_bias ? WaveOf({c.heads, c.tokens, c.tokens}, 0.73).to(at::kFloat) : at::Tensor(),
          WaveOf(sizes, 0.51).to(at::kBFloat16)};
}

struct Results {
  at::Tensor weights, d_logits, d_bias;
};

Results RunOn(const Operands& in) {
  const at::Tensor logits = in.logits.clone().requires_grad_(true);
  const at::Tensor bias = in.bias.defined() ? in.bias.clone().requires_grad_(true) : in.bias;
  const at::Tensor weights = AttentionWeights(logits, kScale, bias);
  weights.backward(in.d_weights);
  return {weights.detach(), logits.grad(), bias.defined() ? bias.grad() : bias};
}

// |got - wanted| <= bound, element by element; a NaN is not.
void ExpectWithin(const at::Tensor& got, const at::Tensor& wanted, const at::Tensor& bound, const std::string& what) {
  ASSERT_EQ(got.sizes(), wanted.sizes()) << what;
  const at::Tensor within = (got.to(at::kDouble) - wanted).abs() <= bound;
  EXPECT_TRUE(within.all().item<bool>()) << what << ": " << (~within).sum().item<int64_t>() << " of " << within.numel()
                                         << " are not";
}

// Against float64. A weight is rounded to 8 bits; before that, exp and the division are off by some units of float32,
// and as many as its argument, its row's largest and their distance are large.
TEST(AttentionWeightsTest, GivesTheSoftmaxAndItsGradients) {
  for (const Case& c : Cases()) {
    const Operands in = OperandsOf(c);
    at::Tensor x = in.logits.to(at::kDouble) * static_cast<double>(kScale);
    if (c.with_bias) x = x + in.bias.to(at::kDouble);
    const at::Tensor largest = std::get<0>(x.max(-1, true)), p = at::softmax(x, -1);
    const at::Tensor units = kUnit * (8 + 2 * (x.abs() + largest.abs()));  // Relative, of p.
    const Results got = RunOn(in);
    // Where p ends being a normal number it may be zero.
    ExpectWithin(got.weights, p, p * (kLowUnit + units) + 2e-38, Name(c) + ", weights");

    const at::Tensor g = in.d_weights.to(at::kDouble);
    const at::Tensor d_x = p * (g - (p * g).sum(-1, true));
    // Of the differences' terms, each of which is at most the largest gradient, and of the row's sum.
    const at::Tensor d_x_bound =
        p * (units + (p * units).sum(-1, true) + 16 * kUnit) * 2 * g.abs().max() + kUnit * d_x.abs() + 1e-37;
    ExpectWithin(got.d_logits, d_x * static_cast<double>(kScale), d_x.abs() * kScale * kLowUnit + d_x_bound,
                 Name(c) + ", gradient of the logits");
    if (!c.with_bias) continue;
    ASSERT_EQ(got.d_bias.scalar_type(), at::kFloat);
    ExpectWithin(got.d_bias, d_x.sum(0), d_x_bound.sum(0) + 4 * kUnit * d_x.abs().sum(0),
                 Name(c) + ", gradient of the bias");
  }
}

// What rounding to bfloat16 would hide.
TEST(AttentionWeightsTest, ExponentialsHaveTheBitsOfFloat32) {
  constexpr int64_t kRows = 4000;
  // Two arguments: 0 and what is looked at, down to where float32 ends.
  const at::Tensor logits =
      at::stack({at::zeros({kRows}, at::kDouble), at::arange(kRows, at::kDouble) * -0.0213}, 1).to(at::kBFloat16);
  const at::Tensor range = at::empty({kRows, 2}, at::kFloat), weights = at::empty_like(logits);
  AttentionRows rows = {};
  rows.keys = 2;
  rows.scale = 1;
  rows.logits = static_cast<const uint16_t*>(logits.const_data_ptr());
  rows.range = range.mutable_data_ptr<float>();
  AttentionWeightRows(rows, 0, kRows, static_cast<uint16_t*>(weights.mutable_data_ptr()));
  EXPECT_TRUE(at::equal(range.select(1, 0), at::zeros({kRows}, at::kFloat)));
  const at::Tensor e = at::exp(logits.select(1, 1).to(at::kDouble));
  // The sum and the division round once each.
  const at::Tensor relative = range.select(1, 1).to(at::kDouble) * (1 + e) - 1;
  EXPECT_LE(relative.abs().max().item<double>(), 2e-7 + 2 * kUnit);
}

TEST(AttentionWeightsTest, TakesThePlaceOfTheLogitsWhereNothingIsRecorded) {
  for (const Case& c : Cases()) {
    const Operands in = OperandsOf(c);
    const at::Tensor wanted = RunOn(in).weights, logits = in.logits.clone();
    const void* place = logits.const_data_ptr();
    const at::Tensor weights = AttentionWeights(logits, kScale, in.bias);
    EXPECT_EQ(weights.const_data_ptr(), place);
    EXPECT_TRUE(BitEqual(weights, wanted)) << Name(c);
  }
}

TEST(AttentionWeightsTest, HasTheSameBitsOnAnyNumberOfThreadsAndAnyVectors) {
  const int before = at::get_num_threads();
  // Enough values for more threads than one.
  for (const Case& c : {Case{3, 2, 197, 20.0, true}, Case{3, 2, 197, 20.0, false}, Case{9, 40, 9, 20.0, true}}) {
    const Operands in = OperandsOf(c);
    const Results wanted = RunOn(in);
    const auto expect_equal = [&](const Results& got, const std::string& what) {
      EXPECT_TRUE(BitEqual(got.weights, wanted.weights)) << Name(c) << what;
      EXPECT_TRUE(BitEqual(got.d_logits, wanted.d_logits)) << Name(c) << what;
      EXPECT_TRUE(!c.with_bias || BitEqual(got.d_bias, wanted.d_bias)) << Name(c) << what;
    };
    for (const int threads : {1, 2, 3}) {
      at::set_num_threads(threads);
      expect_equal(RunOn(in), ", " + std::to_string(threads) + " threads");
    }
    for (const int64_t target : AttentionWeightTargets()) {
      UseAttentionWeightTargetForTest(target);
      expect_equal(RunOn(in), ", target " + std::to_string(target));
    }
    UseAttentionWeightTargetForTest(0);
    at::set_num_threads(before);
  }
}

TEST(AttentionWeightsTest, ANanSpoilsItsRowAlone) {
  for (const int64_t tokens : {5, 16, 50, 197}) {
    Operands in = OperandsOf({2, 2, tokens, 3.0, false});
    const at::Tensor spoilt = in.logits.clone();
    spoilt[1][0][2][tokens - 2].fill_(std::numeric_limits<float>::quiet_NaN());
    const Results wanted = RunOn(in), got = RunOn({spoilt, {}, in.d_weights});
    for (const auto& [a, b] : {std::pair(got.weights, wanted.weights), std::pair(got.d_logits, wanted.d_logits)}) {
      EXPECT_TRUE(a[1][0][2].isnan().all().item<bool>()) << tokens;
      a[1][0][2].copy_(b[1][0][2]);
      EXPECT_TRUE(BitEqual(a, b)) << tokens;
    }
    in.d_weights[0][1][3][0].fill_(std::numeric_limits<float>::quiet_NaN());
    const at::Tensor d_logits = RunOn(in).d_logits;
    EXPECT_TRUE(d_logits[0][1][3].isnan().all().item<bool>()) << tokens;
    d_logits[0][1][3].copy_(wanted.d_logits[0][1][3]);
    EXPECT_TRUE(BitEqual(d_logits, wanted.d_logits)) << tokens;
  }
}

}  // namespace
}  // namespace tec
