// What the reference has no numbers for (those: tools/goldens/check_trajectories.cc): accumulation, clipping, skipping.

#include "eval/finetune/finetune_step.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/optim/parameter_groups.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

// Rounding, of sums in another order.
constexpr double kParameter = 1e-5, kRelativeNorm = 1e-5;

std::shared_ptr<FinetuneModel> TinyModel() {
  FinetuneOptions options;
  options.encoder = {8, 4, 8, 2, 2};
  options.classes = 3;
  auto model = std::make_shared<FinetuneModel>(options);
  InitialiseFinetuning(*model, 7);
  return model;
}

std::vector<ParameterGroup> Groups(FinetuneModel& model) {
  return FinetuningGroups(NamedTrainable(model), model.options().encoder.depth, 0.05, 0.75);
}

TEST(FinetuneStepTest, AccumulatedHalvesAreTheWhole) {
  const at::Tensor images = at::sin(at::arange(4 * 3 * 8 * 8, at::kFloat)).view({4, 3, 8, 8});
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 2, 1, 2}, at::kLong);
  double norms[2];
  at::Tensor heads[2];
  for (int64_t parts : {1, 2}) {
    const std::shared_ptr<FinetuneModel> tiny = TinyModel();
    FinetuneModel& model = *tiny;
    AdamW optimizer(Groups(model), {0.9, 0.999, 1e-8});
    FinetuneStepOptions options;
    options.accum_iter = parts;
    options.smoothing = 0.1;
    FinetuneStep step(model, optimizer, options);
    for (int64_t i = 0; i < parts; ++i) {
      step.Accumulate(images.narrow(0, i * 4 / parts, 4 / parts), labels.narrow(0, i * 4 / parts, 4 / parts), {});
    }
    norms[parts - 1] = *step.Finish(1e-3).Read().grad_norm;
    heads[parts - 1] = optimizer.parameters().back().detach().clone();
  }
  EXPECT_NEAR(norms[0], norms[1], kRelativeNorm * norms[0]);
  EXPECT_TRUE(TensorNear(heads[1], heads[0], kParameter));
}

TEST(FinetuneStepTest, ClipsAfterMeasuring) {
  const std::shared_ptr<FinetuneModel> tiny = TinyModel();
  FinetuneModel& model = *tiny;
  AdamW optimizer(Groups(model), {0, 0, 1});  // Without moments an update is lr * g / (|g| + 1): the gradient shows.
  FinetuneStepOptions options;
  options.clip_grad = 1e-3;
  FinetuneStep step(model, optimizer, options);
  const NamedTensors named = NamedTrainable(model);
  const at::Tensor bias =
      std::find_if(named.begin(), named.end(), [](const auto& n) { return n.first == "head.bias"; })->second;
  const at::Tensor before = bias.detach().clone();
  step.Accumulate(at::ones({2, 3, 8, 8}), at::zeros({2}, at::kLong), {});
  const UpdateResult update = step.Finish(1).Read();
  EXPECT_GT(*update.grad_norm, 0.1);
  EXPECT_GT((bias.detach() - before).abs().max().item<double>(), 0);
  EXPECT_LE((bias.detach() - before).abs().max().item<double>(), options.clip_grad);
}

TEST(FinetuneStepTest, AGradientThatIsNotFiniteChangesNothing) {
  const std::shared_ptr<FinetuneModel> tiny = TinyModel();
  FinetuneModel& model = *tiny;
  AdamW optimizer(Groups(model), {0.9, 0.999, 1e-8});
  FinetuneStep step(model, optimizer, FinetuneStepOptions());
  std::vector<at::Tensor> before;
  for (const at::Tensor& parameter : optimizer.parameters()) before.push_back(parameter.detach().clone());
  const at::Tensor images = at::full({2, 3, 8, 8}, std::numeric_limits<double>::infinity(), at::kFloat);
  step.Accumulate(images, at::zeros({2}, at::kLong), {});
  EXPECT_TRUE(step.Finish(1e-3).Read().skipped);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(optimizer.parameters()[i].detach(), before[i]));
}

}  // namespace
}  // namespace tec
