#include "eval/finetune/weight_average.h"

#include <cmath>
#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tec/nn/modules.h"
#include "tec/nn/working_weights.h"

namespace tec {
namespace {

// Sets weight [2, 3] and bias [2] to numbers that depend on `step`, of both signs.
void Fill(const Linear& model, int step) {
  at::NoGradGuard no_gradient;
  for (at::Tensor tensor : {model.weight, model.bias}) {
    tensor.copy_(at::arange(tensor.numel(), at::kFloat).add(0.7 * step).mul(1.3).cos().view(tensor.sizes()));
  }
}

std::vector<float> Values(const Linear& model) {
  std::vector<float> values;
  for (const at::Tensor& tensor : {model.weight, model.bias}) {
    const at::Tensor flat = tensor.detach().contiguous();
    values.insert(values.end(), flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
  }
  return values;
}

TEST(WeightAverageTest, IsThatOfAPlainLoop) {
  for (const double decay : {0.5, 0.9, 0.9999}) {
    Linear model(3, 2), averaged(3, 2);
    Fill(model, 0);
    Fill(averaged, 99);
    WeightAverage average(model, averaged, decay);
    EXPECT_EQ(Values(averaged), Values(model));  // Begins with the weights.
    std::vector<double> expected;
    for (const float value : Values(model)) expected.push_back(value);
    constexpr int kSteps = 40;
    for (int step = 1; step <= kSteps; ++step) {
      Fill(model, step);
      average.Update();
      const std::vector<float> weights = Values(model);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] = decay * expected[i] + (1 - decay) * weights[i];
    }
    // Values of at most 1: of each step a difference, a product with a rounded factor and a sum, 2^-24 of at most 2
    // each.
    const double tolerance = kSteps * 8 * std::ldexp(1.0, -24);
    const std::vector<float> got = Values(averaged);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << decay << " " << i;
  }
}

// Weights that have come to rest are their own average, to the bit, however often it is taken.
TEST(WeightAverageTest, DoesNotDrift) {
  Linear model(3, 2), averaged(3, 2);
  Fill(model, 1);
  WeightAverage average(model, averaged, 0.9999);
  for (int step = 0; step < 1000; ++step) average.Update();
  EXPECT_EQ(Values(averaged), Values(model));
  EXPECT_TRUE(averaged.weight.requires_grad());  // It is a model like the other.
}

TEST(WeightAverageTest, WithoutDecayItIsTheModel) {
  Linear model(3, 2), averaged(3, 2);
  Fill(model, 1);
  WeightAverage average(model, averaged, 0);
  Fill(model, 2);
  average.Update();
  EXPECT_EQ(Values(averaged), Values(model));
  Fill(model, 3);
  EXPECT_NE(Values(averaged), Values(model));
  average.Reset();
  EXPECT_EQ(Values(averaged), Values(model));
}

// Also where the average has been told that it does not train, as a model whose copies are made once.
TEST(WeightAverageTest, IsSeenByWorkingWeights) {
  struct Holder : torch::nn::Module {
    Holder() { linear = register_module("linear", std::make_shared<Linear>(3, 2)); }
    std::shared_ptr<Linear> linear;
  };
  Holder model, averaged;
  Fill(*model.linear, 1);
  WeightAverage average(model, averaged, 0.5);
  for (at::Tensor& tensor : averaged.parameters()) tensor.set_requires_grad(false);
  WorkingWeights working;
  const AutocastGuard autocast(at::kCPU, at::kBFloat16);
  working.Refresh(averaged);
  for (int step = 2; step < 4; ++step) {
    Fill(*model.linear, step);
    if (step == 2) average.Update();
    if (step == 3) average.Reset();
    working.Refresh(averaged);
    EXPECT_TRUE(at::equal(averaged.linear->low_weight(), averaged.linear->weight.to(at::kBFloat16))) << step;
  }
}

}  // namespace
}  // namespace tec
