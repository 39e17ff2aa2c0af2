// Many heads at once against one at a time, and formulas by hand. The reference's ten steps:
// tools/goldens/check_evaluation.cc.

#include "eval/linear/linear_probe.h"

#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

struct Problem {
  at::Tensor features = at::arange(0, 60, at::kFloat).reshape({12, 5}).mul(0.37).sin();
  at::Tensor labels = at::arange(0, 12, at::kLong).remainder(3);
};

TEST(LinearProbeTest, HeadsAreIndependent) {
  const Problem problem;
  const std::vector<double> rates = {0.1, 1, 4};
  for (const bool lars : {false, true}) {
    SCOPED_TRACE(lars);
    LinearProbeOptions options;
    options.width = 5;
    options.classes = 3;
    options.batch_norm = lars;
    options.weight_decay = 0.01;
    options.optimizer.trust_coefficient = lars ? 0.001 : 0;
    options.lr_scales = rates;
    LinearProbe together(options, /*seed=*/3);
    for (int i = 0; i < 4; ++i) {
      together.Accumulate(problem.features, problem.labels);
      together.Step(0.5);
    }
    for (int64_t r = 0; r < 3; ++r) {
      SCOPED_TRACE(r);
      options.lr_scales = {rates[r]};
      LinearProbe alone(options, 3, /*first_head=*/r);
      for (int i = 0; i < 4; ++i) {
        alone.Accumulate(problem.features, problem.labels);
        alone.Step(0.5);
      }
      // Matrix products of other shapes: rounding of values of order 1.
      EXPECT_TRUE(TensorNear(together.weight()[r], alone.weight()[0], 1e-6));
      EXPECT_TRUE(TensorNear(together.bias()[r], alone.bias()[0], 1e-6));
      EXPECT_TRUE(TensorNear(together.Logits(problem.features).select(1, r),
                             alone.Logits(problem.features).select(1, 0), 1e-5));
    }
  }
}

// Two micro-batches of an update are, without batch normalisation, one batch of both.
TEST(LinearProbeTest, AccumulatesMicroBatches) {
  const Problem problem;
  LinearProbeOptions options;
  options.width = 5;
  options.classes = 3;
  options.batch_norm = false;
  options.optimizer.trust_coefficient = 0;
  LinearProbe whole(options, 1), parts(options, 1);
  whole.Accumulate(problem.features, problem.labels);
  whole.Step(1);
  parts.Accumulate(problem.features.narrow(0, 0, 6), problem.labels.narrow(0, 0, 6), 2);
  parts.Accumulate(problem.features.narrow(0, 6, 6), problem.labels.narrow(0, 6, 6), 2);
  parts.Step(1);
  EXPECT_TRUE(TensorNear(parts.weight(), whole.weight(), 1e-6));
  EXPECT_TRUE(TensorNear(parts.bias(), whole.bias(), 1e-6));
}

// Momentum SGD by hand: v = 0.9 v + g + wd p for weights and biases alike.
TEST(LinearProbeTest, SgdFollowsItsFormula) {
  const Problem problem;
  LinearProbeOptions options;
  options.width = 5;
  options.classes = 3;
  options.batch_norm = false;
  options.weight_decay = 0.1;
  options.optimizer.trust_coefficient = 0;
  options.lr_scales = {2};
  LinearProbe probe(options, 1);
  at::Tensor weight = probe.weight().clone(), bias = probe.bias().clone();
  at::Tensor weight_velocity = at::zeros_like(weight), bias_velocity = at::zeros_like(bias);
  for (int i = 0; i < 3; ++i) {
    probe.Accumulate(problem.features, problem.labels);
    weight_velocity = 0.9 * weight_velocity + probe.weight_gradient() + 0.1 * weight;
    bias_velocity = 0.9 * bias_velocity + probe.bias_gradient() + 0.1 * bias;
    weight = weight - 0.25 * 2 * weight_velocity;
    bias = bias - 0.25 * 2 * bias_velocity;
    probe.Step(0.25);
    EXPECT_TRUE(TensorNear(probe.weight(), weight, 1e-6));
    EXPECT_TRUE(TensorNear(probe.bias(), bias, 1e-6));
  }
}

// LARS leaves a gradient or a weight of size 0 alone, and does not decay biases.
TEST(LinearProbeTest, LarsWithZeroNorms) {
  const Problem problem;
  LinearProbeOptions options;
  options.width = 5;
  options.classes = 3;
  options.weight_decay = 0.1;
  LinearProbe probe(options, 1);
  probe.weight().zero_();
  probe.bias().fill_(2);  // Equal for all classes: no effect on the gradient.
  probe.Accumulate(problem.features, problem.labels);
  const at::Tensor weight_gradient = probe.weight_gradient().clone(), bias_gradient = probe.bias_gradient().clone();
  probe.Step(1);
  EXPECT_TRUE(BitEqual(probe.weight(), -weight_gradient));
  EXPECT_TRUE(TensorNear(probe.bias(), 2 - bias_gradient, 1e-6));
}

TEST(LinearProbeTest, DrawsEachHeadFromItsOwnStream) {
  LinearProbeOptions options;
  options.width = 64;
  options.classes = 50;
  options.lr_scales = {1, 1};
  const LinearProbe a(options, 1), b(options, 1), c(options, 2);
  EXPECT_TRUE(BitEqual(a.weight(), b.weight()));
  EXPECT_FALSE(BitEqual(a.weight(), c.weight()));
  EXPECT_FALSE(BitEqual(a.weight()[0], a.weight()[1]));
  // 6400 draws: the deviation's own is 1 / sqrt(2 * 6400), here five of them.
  EXPECT_NEAR(a.weight().std().item<double>() / 0.01, 1, 5 / std::sqrt(2 * 6400.0));
  EXPECT_TRUE(BitEqual(a.bias(), at::zeros({2, 50})));
}

}  // namespace
}  // namespace tec
