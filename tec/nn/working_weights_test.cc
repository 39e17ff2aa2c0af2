#include "tec/nn/working_weights.h"

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/nn/modules.h"
#include "tec/nn/product.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

// A matrix behind a convolution's shape and a plain one.
struct Pair : torch::nn::Module {
  Pair() {
    embed = register_module("embed", std::make_shared<PatchEmbed>(8, 4, 6));
    linear = register_module("linear", std::make_shared<Linear>(6, 5));
    at::NoGradGuard no_grad;
    double frequency = 0.3;
    for (at::Tensor& p : parameters()) {
      p.copy_((at::arange(p.numel(), at::kFloat) * (frequency += 0.2)).cos().view(p.sizes()));
    }
  }
  at::Tensor forward(const at::Tensor& images, bool keep) {
    if (keep) working.Refresh(*this);
    return linear->forward(embed->forward(images));
  }
  std::shared_ptr<PatchEmbed> embed;
  std::shared_ptr<Linear> linear;
  WorkingWeights working;
};

at::Tensor Images() { return (at::arange(2 * 3 * 64, at::kFloat) * 0.7).sin().view({2, 3, 8, 8}); }

// Value, then gradients in the order of the parameters.
std::vector<at::Tensor> Step(Pair& model, bool keep, at::ScalarType type = at::kBFloat16) {
  model.zero_grad();
  at::Tensor out;
  {
    AutocastGuard autocast(at::kCPU, type);
    out = model.forward(Images(), keep);
  }
  out.to(at::kFloat).square().sum().backward();
  std::vector<at::Tensor> all = {out.detach()};
  for (const at::Tensor& p : model.parameters()) all.push_back(p.grad().clone());
  return all;
}

TEST(WorkingWeightsTest, GiveTheBitsOfAutocast) {
  Pair model;
  const std::vector<at::Tensor> expected = Step(model, false), found = Step(model, true);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), expected[i].scalar_type());
    // The gradient of a bias is no longer rounded to bfloat16, and a weight's is not where it is made of float32's.
    if (found[i].dim() == 1 || (i > 0 && MultipliesAsFloat32(expected[0]))) {
      EXPECT_TRUE(BitEqual(found[i].to(at::kBFloat16), expected[i].to(at::kBFloat16))) << i;
    } else {
      EXPECT_TRUE(BitEqual(found[i], expected[i])) << i;
    }
  }
}

// Also by an operation on a list, which tells autograd nothing of it.
TEST(WorkingWeightsTest, FollowTheWeights) {
  Pair model;
  const at::Tensor before = Step(model, true)[0];
  {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(std::vector<at::Tensor>{model.embed->proj->weight}, 3);
  }
  const at::Tensor found = Step(model, true)[0];
  model.linear->SetWorkingWeights({}, {});
  model.embed->proj->SetWorkingWeights({}, {});
  EXPECT_TRUE(BitEqual(found, Step(model, false)[0]));
  EXPECT_FALSE(BitEqual(found, before));
}

TEST(WorkingWeightsTest, OfAFrozenModelAreMadeOnceAndWhenAWeightHasChanged) {
  Pair model;
  for (at::Tensor& p : model.parameters()) p.set_requires_grad(false);
  const AutocastGuard autocast(at::kCPU, at::kBFloat16);
  model.forward(Images(), true);
  const void* const copy = model.linear->low_weight().const_data_ptr();
  const at::Tensor before = model.forward(Images(), true);
  EXPECT_EQ(model.linear->low_weight().const_data_ptr(), copy);
  model.embed->proj->bias.mul_(3);
  EXPECT_FALSE(BitEqual(model.forward(Images(), true), before));
}

TEST(WorkingWeightsTest, PlayNoPartWithoutAutocast) {
  Pair model, other;
  Step(model, true);
  for (const bool keep : {true, false}) {
    const std::vector<at::Tensor> found = Step(model, keep, at::kFloat), expected = Step(other, false, at::kFloat);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(BitEqual(found[i], expected[i])) << i;
  }
}

TEST(WorkingWeightsTest, LeaveAGraphWhatItSaw) {
  Pair model;
  const std::vector<at::Tensor> expected = Step(model, true);
  model.zero_grad();
  const AutocastGuard autocast(at::kCPU, at::kBFloat16);
  const at::Tensor out = model.forward(Images(), true);
  {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(std::vector<at::Tensor>{model.linear->weight}, 2);
  }
  model.working.Refresh(model);
  out.to(at::kFloat).square().sum().backward();
  EXPECT_TRUE(BitEqual(model.embed->proj->weight.grad(), expected[1]));
}

}  // namespace
}  // namespace tec
