// AdamW against its formula in double, its state, and what happens to gradients before it.

#include "tec/optim/adamw.h"

#include <cmath>
#include <limits>
#include <string>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/parallel.h"
#include "tec/optim/gradients.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

constexpr AdamWOptions kOptions = {0.9, 0.95, 1e-8};
// Parameters of order one and a few steps of about lr: a rounding or two each.
constexpr double kTolerance = 1e-6;

at::Tensor Wave(at::IntArrayRef sizes, double frequency) {
  int64_t n = 1;
  for (int64_t size : sizes) n *= size;
  return (at::arange(n, at::kDouble) * frequency).cos().to(at::kFloat).view(sizes);
}

at::Tensor Parameter(at::IntArrayRef sizes, double frequency) {
  return Wave(sizes, frequency).clone().set_requires_grad(true);
}

// Decoupled decay, bias-corrected moments, epsilon outside of the root. (Loshchilov and Hutter, 2019)
void ReferenceStep(at::Tensor& p, const at::Tensor& g, at::Tensor& m, at::Tensor& v, int step, double lr,
                   double decay) {
  p = p * (1 - lr * decay);
  m = m * kOptions.beta1 + g * (1 - kOptions.beta1);
  v = v * kOptions.beta2 + g * g * (1 - kOptions.beta2);
  const at::Tensor m_hat = m / (1 - std::pow(kOptions.beta1, step)), v_hat = v / (1 - std::pow(kOptions.beta2, step));
  p = p - lr * m_hat / (v_hat.sqrt() + kOptions.epsilon);
}

TEST(AdamWTest, IsTheFormulaInEachGroup) {
  std::vector<ParameterGroup> groups(2);
  groups[0] = {{"a", "b"}, {Parameter({5}, 0.3), Parameter({4, 3}, 0.5)}, 0.0, 1.0};
  groups[1] = {{"c"}, {Parameter({7, 9}, 0.7)}, 0.3, 0.25};
  AdamW optimizer(groups, kOptions);
  std::vector<at::Tensor> p, m, v;
  for (const at::Tensor& parameter : optimizer.parameters()) {
    p.push_back(parameter.detach().to(at::kDouble));
    m.push_back(at::zeros_like(p.back()));
    v.push_back(at::zeros_like(p.back()));
  }
  ASSERT_EQ(p.size(), 3u);
  for (int step = 1; step <= 4; ++step) {
    const double lr = 0.01 * step;
    for (size_t i = 0; i < p.size(); ++i) {
      at::Tensor parameter = optimizer.parameters()[i];
      parameter.mutable_grad() = Wave(parameter.sizes(), 0.2 * step + i) * std::pow(10.0, -2.0 * i);
      ReferenceStep(p[i], parameter.grad().to(at::kDouble), m[i], v[i], step, lr * (i == 2 ? 0.25 : 1),
                    i == 2 ? 0.3 : 0);
    }
    optimizer.Step(lr);
    for (size_t i = 0; i < p.size(); ++i) {
      EXPECT_TRUE(TensorNear(optimizer.parameters()[i], p[i].to(at::kFloat), kTolerance)) << step << " " << i;
      EXPECT_TRUE(TensorNear(optimizer.state()[i].exp_avg, m[i].to(at::kFloat), kTolerance));
      EXPECT_TRUE(TensorNear(optimizer.state()[i].exp_avg_sq, v[i].to(at::kFloat), kTolerance));
      EXPECT_EQ(optimizer.state()[i].step.item<float>(), step);
    }
  }
}

TEST(AdamWTest, ChangesNothingWhereTheNormIsNotFinite) {
  const auto make = [](double frequency) {
    std::vector<ParameterGroup> groups(2);
    groups[0] = {{"a"}, {Parameter({5}, frequency).to(at::kDouble).detach().set_requires_grad(true)}, 0.1, 1.0};
    groups[1] = {{"b"}, {Parameter({7, 3}, frequency).to(at::kDouble).detach().set_requires_grad(true)}, 0.0, 0.5};
    return AdamW(groups, kOptions);
  };
  AdamW guarded = make(0.3), plain = make(0.3);
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (const double spoilt : {0.0, kInf, 0.0, -kInf, std::nan(""), 0.0}) {
    for (AdamW* optimizer : {&guarded, &plain}) {
      for (at::Tensor parameter : optimizer->parameters()) {
        parameter.mutable_grad() = Wave(parameter.sizes(), 0.7).to(at::kDouble);
      }
    }
    guarded.parameters()[1].grad()[0][0] += spoilt;
    const at::Tensor norm = GradientNorm(guarded.parameters());
    EXPECT_EQ(NotFinite(norm).item<float>(), spoilt == 0 ? 0 : 1);
    guarded.Step(0.1, NotFinite(norm));
    if (spoilt == 0) plain.Step(0.1);  // What is skipped was not there at all: to the bit.
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(BitEqual(guarded.parameters()[i].detach(), plain.parameters()[i].detach())) << spoilt;
      EXPECT_TRUE(BitEqual(guarded.state()[i].step, plain.state()[i].step)) << spoilt;
      EXPECT_TRUE(BitEqual(guarded.state()[i].exp_avg, plain.state()[i].exp_avg)) << spoilt;
      EXPECT_TRUE(BitEqual(guarded.state()[i].exp_avg_sq, plain.state()[i].exp_avg_sq)) << spoilt;
    }
  }
  EXPECT_EQ(guarded.state()[0].step.item<double>(), 3);
}

TEST(AdamWTest, PassesOverParametersWithoutAGradient) {
  std::vector<ParameterGroup> groups(1);
  groups[0] = {{"a", "b"}, {Parameter({5}, 0.3), Parameter({5}, 0.5)}, 0.1, 1.0};
  AdamW optimizer(groups, kOptions);
  at::Tensor b = optimizer.parameters()[1];
  b.mutable_grad() = Wave({5}, 1);
  optimizer.Step(0.1);
  EXPECT_TRUE(BitEqual(optimizer.parameters()[0], Wave({5}, 0.3)));  // Not even decayed.
  EXPECT_EQ(optimizer.state()[0].step.item<float>(), 0);
  EXPECT_FALSE(BitEqual(b, Wave({5}, 0.5)));
  optimizer.ZeroGrad();
  EXPECT_FALSE(b.grad().defined());
}

TEST(AdamWTest, GoesOnFromASavedStateBitForBit) {
  const auto make = [] {
    std::vector<ParameterGroup> groups(1);
    groups[0] = {{"a", "b"}, {Parameter({40}, 0.3), Parameter({4, 30}, 0.5)}, 0.1, 1.0};
    return AdamW(groups, kOptions);
  };
  const auto step = [](AdamW& optimizer, int i) {
    for (at::Tensor parameter : optimizer.parameters()) parameter.mutable_grad() = Wave(parameter.sizes(), 0.1 * i);
    optimizer.Step(0.01);
  };
  AdamW whole = make(), first = make(), second = make();
  for (int i = 1; i <= 4; ++i) step(whole, i);
  for (int i = 1; i <= 2; ++i) step(first, i);
  {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < 2; ++i) at::Tensor(second.parameters()[i]).copy_(first.parameters()[i]);
  }
  ASSERT_TRUE(second.LoadState(first.state()).ok());
  for (int i = 3; i <= 4; ++i) step(second, i);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(BitEqual(second.parameters()[i], whole.parameters()[i]));
}

TEST(AdamWTest, RefusesAStateOfOtherParameters) {
  std::vector<ParameterGroup> groups(1);
  groups[0] = {{"a", "b"}, {Parameter({5}, 0.3), Parameter({4}, 0.5)}, 0.1, 1.0};
  AdamW optimizer(groups, kOptions);
  std::vector<AdamWState> state = optimizer.state();
  state[1].exp_avg = at::zeros({6});
  state[0].exp_avg_sq = at::Tensor();
  const absl::Status status = optimizer.LoadState(state);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("exp_avg of b has shape [6], not [4]"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("exp_avg_sq of a is missing"), std::string::npos) << status;
  state.pop_back();
  EXPECT_EQ(optimizer.LoadState(state).code(), absl::StatusCode::kInvalidArgument);
}

std::vector<at::Tensor> WithGradients(const std::vector<at::Tensor>& gradients) {
  std::vector<at::Tensor> parameters;
  for (const at::Tensor& gradient : gradients) {
    parameters.push_back(at::zeros_like(gradient).set_requires_grad(true));
    parameters.back().mutable_grad() = gradient.clone();
  }
  return parameters;
}

TEST(GradientNormTest, IsTheNormOfAllTogether) {
  std::vector<at::Tensor> parameters = WithGradients({at::full({3, 3}, 2.0f), at::full({4}, 4.0f)});
  parameters.push_back(at::zeros({2}));                         // Without a gradient.
  EXPECT_FLOAT_EQ(GradientNorm(parameters).item<float>(), 10);  // sqrt(9 * 4 + 4 * 16)
  at::Tensor(parameters[0].grad()[1][1]).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(std::isfinite(GradientNorm(parameters).item<float>()));
}

TEST(GradientNormTest, IsRoundedOnceAndTheSameOnAnyNumberOfThreads) {
  // Gradients of more than a chunk, and chunks of no round size; one that is not contiguous.
  std::vector<at::Tensor> gradients = {Wave({3, 70001}, 0.37), Wave({5}, 0.2), Wave({65536}, 0.9),
                                       Wave({300, 400}, 0.61).t()};
  double sum = 0;
  for (const at::Tensor& gradient : gradients) sum += gradient.to(at::kDouble).square().sum().item<double>();
  const std::vector<at::Tensor> parameters = WithGradients(gradients);
  const int threads = at::get_num_threads();
  for (const int number : {1, 2, 3, 7}) {
    at::set_num_threads(number);
    EXPECT_EQ(GradientNorm(parameters).item<float>(), static_cast<float>(std::sqrt(sum))) << number;
  }
  at::set_num_threads(threads);
}

TEST(GradientNormTest, LosesNothingSmallAndIsInfiniteWhereAMomentWouldBe) {
  EXPECT_FLOAT_EQ(GradientNorm(WithGradients({at::full({4}, 9e18f)})).item<float>(), 1.8e19f);
  for (const float size : {1e19f, 1e30f, 3e38f}) {
    EXPECT_EQ(GradientNorm(WithGradients({at::full({4}, size)})).item<float>(), INFINITY) << size;
  }
  EXPECT_FLOAT_EQ(GradientNorm(WithGradients({at::full({4}, 1e-30f)})).item<float>(), 2e-30f);
  EXPECT_EQ(GradientNorm(WithGradients({at::full({4}, 2.0, at::kBFloat16)})).item<float>(), 4);
  EXPECT_EQ(GradientNorm(WithGradients({at::full({4}, 2.0, at::kDouble)})).scalar_type(), at::kDouble);
}

TEST(ClipGradientNormTest, ScalesDownOnlyWhatIsLonger) {
  std::vector<at::Tensor> parameters = WithGradients({at::full({3, 3}, 2.0f), at::full({4}, 4.0f)});
  EXPECT_FLOAT_EQ(ClipGradientNorm(parameters, 20).item<float>(), 10);
  EXPECT_TRUE(BitEqual(parameters[1].grad(), at::full({4}, 4.0f)));
  EXPECT_FLOAT_EQ(ClipGradientNorm(parameters, 5).item<float>(), 10);
  EXPECT_TRUE(TensorNear(parameters[1].grad(), at::full({4}, 2.0f), 1e-6));
  EXPECT_TRUE(TensorNear(parameters[0].grad(), at::full({3, 3}, 1.0f), 1e-6));
}

TEST(LossScalerTest, UnscalesAndGrows) {
  LossScaler scaler({/*scale=*/1024, 2, 0.5, /*growth_interval=*/2, 0});
  EXPECT_EQ(scaler.Scale(at::full({}, 3.0f)).item<float>(), 3072);
  for (int update = 0; update < 2; ++update) {
    const double scale = scaler.state().scale;
    std::vector<at::Tensor> parameters = WithGradients({at::full({3}, 5 * scale, at::kFloat)});
    EXPECT_TRUE(scaler.Unscale(parameters));
    EXPECT_TRUE(BitEqual(parameters[0].grad(), at::full({3}, 5.0f)));
    scaler.Update();
  }
  EXPECT_EQ(scaler.state().scale, 2048);
  EXPECT_EQ(scaler.state().growth_tracker, 0);
}

TEST(LossScalerTest, HalvesAfterAnOverflowAndCountsAnew) {
  LossScaler scaler({/*scale=*/1024, 2, 0.5, /*growth_interval=*/3, /*growth_tracker=*/2});
  at::Tensor gradient = at::ones({3});
  gradient[1] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(scaler.Unscale(WithGradients({at::ones({2}), gradient})));
  scaler.Update();
  EXPECT_EQ(scaler.state().scale, 512);
  EXPECT_EQ(scaler.state().growth_tracker, 0);
  EXPECT_TRUE(scaler.Unscale(WithGradients({at::ones({2})})));
  scaler.Update();
  EXPECT_EQ(scaler.state().scale, 512);
  EXPECT_EQ(scaler.state().growth_tracker, 1);
}

}  // namespace
}  // namespace tec
