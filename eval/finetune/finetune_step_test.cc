// The finetuning step against eight steps of the reference (finetune_trajectory.safetensors).

#include "eval/finetune/finetune_step.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "data/augment/mix.h"
#include "eval/finetune/mix_batch.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/optim/parameter_groups.h"
#include "tec/optim/schedule.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using nlohmann::json;
using testing::Golden;
using testing::TensorNear;

// tec/testing/goldens/README.md: about ten times the reference's own distance from float64.
constexpr double kLoss = 1e-5, kParameter = 1e-5, kLearningRate = 1e-15;
// The stored norm is float32's over a sum of some 30,000 squares; its distance from ours is rounding.
constexpr double kRelativeNorm = 1e-5;
constexpr double kTarget = 1e-6;

// Of the golden's list; a box is cut as [y low, y high, x low, x high].
Mix MixOf(const json& mix, int height, int width) {
  const std::string kind = mix[0];
  if (kind == "none") return Mix();
  if (kind == "mix") return MixupOf(mix[1]);
  const std::vector<int> box = mix[1];
  return CutmixOf(Box{box[0], box[2], box[1] - box[0], box[3] - box[2]}, height, width);
}

FinetuneOptions OptionsOf(const json& config) {
  FinetuneOptions options;
  options.encoder = {config.at("img_size"), config.at("patch_size"), config.at("embed_dim"), config.at("depth"),
                     config.at("num_heads")};
  options.classes = config.at("num_classes");
  options.global_pool = config.at("global_pool");
  options.mlp_token = config.at("mlp_token");
  options.drop_path = config.at("drop_path");
  return options;
}

TEST(FinetuneStepTest, FollowsTheReference) {
  const Golden golden("finetune_trajectory.safetensors");
  const json recipe = golden.metadata("recipe"), mixing = golden.metadata("mixing");
  const FinetuneOptions options = OptionsOf(golden.metadata("config"));
  FinetuneModel model(options);
  const absl::Status loaded = LoadState(model, golden.WithPrefix("init."));
  ASSERT_TRUE(loaded.ok()) << loaded;

  AdamW optimizer(FinetuningGroups(NamedTrainable(model), options.encoder.depth, recipe.at("weight_decay"),
                                   recipe.at("layer_decay")),
                  AdamWOptions{recipe.at("betas")[0], recipe.at("betas")[1], recipe.at("eps")});
  FinetuneStepOptions step_options;
  step_options.accum_iter = recipe.at("accum_iter");
  step_options.smoothing = recipe.at("smoothing");
  FinetuneStep step(model, optimizer, step_options);
  const ScheduleOptions schedule = {recipe.at("lr"), recipe.at("min_lr"), recipe.at("warmup_epochs"),
                                    recipe.at("epochs")};
  const int64_t steps_per_epoch = recipe.at("steps_per_epoch"), steps = golden["log.loss"].size(0);
  ASSERT_EQ(steps, steps_per_epoch * recipe.at("epochs").get<int64_t>());

  double min_scale = 1, max_scale = 0, lr_sum = 0;
  for (const ParameterGroup& group : optimizer.groups()) {
    min_scale = std::min(min_scale, group.lr_scale);
    max_scale = std::max(max_scale, group.lr_scale);
  }
  const auto log = [&golden](const char* name, int64_t i) { return golden[name][i].item<double>(); };
  for (int64_t i = 0; i < steps; ++i) {
    SCOPED_TRACE(i);
    const double lr = LearningRate(schedule, static_cast<double>(i) / steps_per_epoch);
    lr_sum += lr;
    EXPECT_NEAR(lr * max_scale, log("log.lr_max", i), kLearningRate * log("log.lr_max", i));
    EXPECT_NEAR(lr * min_scale, log("log.lr_min", i), 2 * kLearningRate * log("log.lr_min", i));
    const at::Tensor images = golden["in.images"][i].to(at::kFloat);
    const std::vector<Mix> mixes = {
        MixOf(mixing[i], static_cast<int>(images.size(2)), static_cast<int>(images.size(3)))};
    const at::Tensor targets = MixTargets(golden["in.labels"][i], options.classes, step_options.smoothing, mixes);
    EXPECT_TRUE(TensorNear(targets, golden["soft_targets"][i], kTarget));
    const at::Tensor loss = step.Accumulate(MixImages(images, mixes), targets, {});
    EXPECT_NEAR(loss.item<double>(), log("log.loss", i), kLoss);
    const FinetuneStep::Update update = step.Finish(lr);
    EXPECT_FALSE(update.skipped);
    EXPECT_NEAR(update.grad_norm, log("log.grad_norm", i), kRelativeNorm * log("log.grad_norm", i));
  }

  const TensorMap initial = golden.WithPrefix("init."), final = golden.WithPrefix("final.");
  for (const auto& [name, parameter] : NamedTrainable(model)) {
    SCOPED_TRACE(name);
    const auto found = final.find(name);
    ASSERT_NE(found, final.end());
    if (!absl::EndsWith(name, "attn.qkv.bias")) {
      EXPECT_TRUE(TensorNear(parameter.detach(), found->second, kParameter));
      continue;
    }
    // Its middle third, the keys' bias, has a gradient of rounding noise alone, which AdamW scales up to lr a step.
    const int64_t width = options.encoder.width;
    for (int64_t part : {0, 2}) {
      EXPECT_TRUE(TensorNear(parameter.detach().narrow(0, part * width, width),
                             found->second.narrow(0, part * width, width), kParameter));
    }
    const double moved = (parameter.detach() - initial.at(name)).narrow(0, width, width).abs().max().item<double>();
    EXPECT_LE(moved, lr_sum);
  }
  EXPECT_EQ(final.size(), NamedTrainable(model).size());
}

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
    norms[parts - 1] = step.Finish(1e-3).grad_norm;
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
  const FinetuneStep::Update update = step.Finish(1);
  EXPECT_GT(update.grad_norm, 0.1);
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
  EXPECT_TRUE(step.Finish(1e-3).skipped);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(optimizer.parameters()[i].detach(), before[i]));
}

}  // namespace
}  // namespace tec
