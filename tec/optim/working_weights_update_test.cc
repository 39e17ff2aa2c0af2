// Working weights between updates: those that AdamW writes are taken as they are, and nobody's change is missed.

#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tec/nn/modules.h"
#include "tec/nn/working_copy.h"
#include "tec/nn/working_weights.h"
#include "tec/optim/adamw.h"
#include "tec/optim/lars.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

struct Model : torch::nn::Module {
  Model() {
    first = register_module("first", std::make_shared<Linear>(6, 40));
    second = register_module("second", std::make_shared<Linear>(40, 5));
    at::NoGradGuard no_grad;
    double frequency = 0.3;
    for (at::Tensor& p : parameters()) {
      p.copy_((at::arange(p.numel(), at::kFloat) * (frequency += 0.2)).cos().view(p.sizes()));
    }
  }
  at::Tensor forward(const at::Tensor& x, bool keep) {
    if (keep) working.Refresh(*this);
    return second->forward(first->forward(x));
  }
  std::shared_ptr<Linear> first, second;
  WorkingWeights working;
};

at::Tensor Input() { return (at::arange(18, at::kFloat) * 0.7).sin().view({3, 6}); }

std::vector<ParameterGroup> GroupsOf(const Model& model) {
  std::vector<ParameterGroup> groups(1);
  for (const auto& [name, tensor] : NamedTrainable(model)) {
    groups[0].names.push_back(name);
    groups[0].parameters.push_back(tensor);
  }
  groups[0].weight_decay = 0.1;
  return groups;
}

at::Tensor Forward(Model& model, bool keep = true) {
  const AutocastGuard autocast(at::kCPU, at::kBFloat16);
  return model.forward(Input(), keep);
}

void Backward(Model& model) { Forward(model).to(at::kFloat).square().sum().backward(); }

// Whether the next forward pass takes the copies that there are, and gives what autocast would of the weights.
bool TakesCopiesAsTheyAre(Model& model) {
  const std::vector<const void*> before = {model.first->low_weight().const_data_ptr(),
                                           model.second->low_bias().const_data_ptr()};
  const at::Tensor out = Forward(model);
  const bool kept =
      before[0] == model.first->low_weight().const_data_ptr() && before[1] == model.second->low_bias().const_data_ptr();
  for (const auto& linear : {model.first, model.second}) {
    EXPECT_TRUE(BitEqual(linear->low_weight(), linear->weight.detach().to(at::kBFloat16)));
    EXPECT_TRUE(BitEqual(linear->low_bias(), linear->bias.detach().to(at::kBFloat16)));
    linear->SetWorkingWeights({}, {});
  }
  EXPECT_TRUE(BitEqual(out, Forward(model, false)));
  return kept;
}

// A model whose copies AdamW has just written.
struct Trained {
  Trained() : optimizer(GroupsOf(model), {0.9, 0.95, 1e-8}) { Update({}); }
  void Update(const at::Tensor& not_finite) {
    Backward(model);
    optimizer.Step(0.01, not_finite);
    optimizer.ZeroGrad();
  }
  Model model;
  AdamW optimizer;
};

TEST(WorkingWeightsUpdateTest, AreTakenFromTheUpdate) {
  Trained trained;
  const at::Tensor before = trained.model.first->low_weight().clone();
  trained.Update({});
  EXPECT_FALSE(BitEqual(trained.model.first->low_weight(), before));
  EXPECT_TRUE(TakesCopiesAsTheyAre(trained.model));
}

TEST(WorkingWeightsUpdateTest, AreWhatTheyWereAfterAnUpdateThatIsPassedOver) {
  Trained trained;
  const at::Tensor before = trained.model.first->low_weight().clone();
  trained.Update(at::ones({}));
  EXPECT_TRUE(BitEqual(trained.model.first->low_weight(), before));
  EXPECT_TRUE(TakesCopiesAsTheyAre(trained.model));
}

TEST(WorkingWeightsUpdateTest, FollowAStateThatIsLoaded) {
  Trained trained;
  const Model other;
  TensorMap state;
  for (const auto& [name, tensor] : NamedState(other)) state.emplace(name, tensor.detach().clone());
  ASSERT_TRUE(LoadState(trained.model, state).ok());
  EXPECT_FALSE(TakesCopiesAsTheyAre(trained.model));
}

TEST(WorkingWeightsUpdateTest, FollowAStateThatIsLoadedBeforeTheUpdate) {
  Trained trained;
  Backward(trained.model);
  {
    at::NoGradGuard no_grad;
    trained.model.first->weight.mul_(2);
  }
  trained.optimizer.Step(0.01, at::ones({}));  // Passed over: the copies stay old.
  trained.optimizer.ZeroGrad();
  EXPECT_FALSE(TakesCopiesAsTheyAre(trained.model));
}

TEST(WorkingWeightsUpdateTest, FollowLars) {
  Trained trained;
  Lars lars(GroupsOf(trained.model), {});
  Backward(trained.model);
  lars.Step(0.1);
  lars.ZeroGrad();
  EXPECT_FALSE(TakesCopiesAsTheyAre(trained.model));
}

TEST(WorkingWeightsUpdateTest, FollowAnOperationOnAListThatSaysSo) {
  Trained trained;
  {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(std::vector<at::Tensor>{trained.model.second->bias}, 3);
    CountChange(trained.model.second->bias);
  }
  EXPECT_FALSE(TakesCopiesAsTheyAre(trained.model));
}

TEST(WorkingWeightsUpdateTest, AreNewWhereAWeightHadNoGradient) {
  Trained trained;
  Backward(trained.model);
  trained.model.second->bias.mutable_grad().reset();
  {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(std::vector<at::Tensor>{trained.model.second->bias}, 3);  // Tells nobody.
  }
  trained.model.working.Refresh(trained.model);
  trained.optimizer.Step(0.01);
  trained.optimizer.ZeroGrad();
  TakesCopiesAsTheyAre(trained.model);
}

TEST(WorkingWeightsUpdateTest, OfWeightsThatNoLongerTrainAreTakenAsWell) {
  Trained trained;
  for (at::Tensor& p : trained.model.parameters()) p.set_requires_grad(false);
  EXPECT_FALSE(TakesCopiesAsTheyAre(trained.model));
  Forward(trained.model);
  EXPECT_TRUE(TakesCopiesAsTheyAre(trained.model));
}

// A graph that an update came before fails, where it would else take half of its weights from after it.
TEST(WorkingWeightsUpdateTest, AGraphDoesNotOutliveAnUpdate) {
  Trained trained;
  const at::Tensor out = Forward(trained.model).to(at::kFloat).square().sum();
  trained.Update({});
  EXPECT_THROW(out.backward(), c10::Error);
}

}  // namespace
}  // namespace tec
