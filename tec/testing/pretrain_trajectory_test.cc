// The pretraining loop's arithmetic over 12 updates against the reference: base model, new model, losses, parameter
// groups, AdamW, schedule and accumulation together.

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/losses/losses.h"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"
#include "tec/optim/schedule.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

// Tolerances of tec/testing/goldens/README.md.
constexpr double kLossTolerance = 1e-5;
constexpr double kParameterTolerance = 1e-5;
constexpr double kRelativeLrTolerance = 1e-15;
// The norm is a few units and its float32 sum has errors like the losses'.
constexpr double kRelativeNormTolerance = 1e-5;

// The slice [begin, end) of a bias whose exact gradient is zero, because softmax ignores what is added to every key:
// rounding noise drives it. Empty for every other parameter.
std::pair<int64_t, int64_t> KeyBias(const std::string& name, int64_t size) {
  if (absl::EndsWith(name, "attn.qkv.bias")) return {size / 3, 2 * size / 3};
  if (name == "forward_att_decoder.decoder_qk.bias") return {size / 2, size};
  return {0, 0};
}

TEST(PretrainTrajectoryTest, FollowsTheReference) {
  const testing::Golden golden("pretrain_trajectory.safetensors");
  const nlohmann::json config = golden.metadata("config"), recipe = golden.metadata("recipe");

  BaseModelOptions base_options;
  base_options.encoder = {config["img_size"], config["patch_size"], config["embed_dim"], config["teacher_depth"],
                          config["num_heads"]};
  base_options.last_layers = config["last_layers"];
  base_options.top_patches = config["topk"];
  BaseModel base_model(base_options);
  ASSERT_TRUE(LoadBaseModel(base_model, golden.WithPrefix("teacher.")).ok());

  TecOptions options;
  options.encoder = {config["img_size"], config["patch_size"], config["embed_dim"], config["depth"],
                     config["num_heads"]};
  options.decoder = {config["decoder_embed_dim"], config["decoder_depth"], config["decoder_num_heads"]};
  options.mlp_token = config["mlp_token"];
  options.pred_att = config["pred_att"];
  TecModel model(options);
  ASSERT_TRUE(LoadState(model, golden.WithPrefix("init.")).ok());

  AdamW optimizer(PretrainingGroups(NamedTrainable(model), config["weight_decay"]),
                  {recipe["betas"][0], recipe["betas"][1], recipe["eps"]});
  const ScheduleOptions schedule = {config["lr"], config["min_lr"], recipe["warmup_epochs"], recipe["epochs"]};
  const int64_t epochs = recipe["epochs"], steps = recipe["micro_batches_per_epoch"], accum = recipe["accum_iter"];
  const auto log = [&](const char* what, int64_t i) { return golden[std::string("log.") + what][i].item<double>(); };
  ASSERT_EQ(golden["in.images"].size(0), epochs * steps);

  double lr = 0, sum_of_lr = 0;
  int64_t update = 0;
  for (int64_t i = 0; i < epochs * steps; ++i) {
    const int64_t epoch = i / steps, step = i % steps;
    if (step % accum == 0) lr = LearningRate(schedule, static_cast<double>(step) / steps + epoch);
    EXPECT_NEAR(lr, log("lr", i), kRelativeLrTolerance * lr) << i;
    const at::Tensor images = golden["in.images"][i].to(at::kFloat);
    const Targets targets = base_model.forward(images);
    const TecOutput output = model.forward(images, golden["in.noise"][i], config["mask_ratio"], targets.idx);
    const at::Tensor feature_loss = FeatureLoss(output.feature_prediction, targets.features, output.mask);
    const at::Tensor relation_loss = RelationLoss(output.relation_logits, targets.relations, config["att_tau"]);
    const at::Tensor total = feature_loss + relation_loss;
    EXPECT_NEAR(feature_loss.item<double>(), log("loss_fea", i), kLossTolerance) << i;
    EXPECT_NEAR(relation_loss.item<double>(), log("loss_att", i), kLossTolerance) << i;
    EXPECT_NEAR(total.item<double>(), log("loss_total", i), kLossTolerance) << i;
    (total / static_cast<double>(accum)).backward();
    if ((step + 1) % accum != 0) continue;

    const double norm = GradientNorm(optimizer.parameters()).item<double>();
    EXPECT_NEAR(norm, log("grad_norm", update), kRelativeNormTolerance * norm) << update;
    optimizer.Step(lr);
    optimizer.ZeroGrad();
    sum_of_lr += lr;
    ++update;
    if (update == 2) {
      for (const auto& [name, expected] : golden.WithPrefix("after2.")) {
        const at::Tensor value = model.named_parameters()[name];
        const auto [begin, end] = KeyBias(name, value.size(0));
        EXPECT_TRUE(TensorNear(value.slice(0, 0, end > begin ? begin : value.size(0)),
                               expected.slice(0, 0, end > begin ? begin : value.size(0)), kParameterTolerance))
            << name;
      }
    }
  }
  ASSERT_EQ(update, recipe["optimizer_steps"].get<int64_t>());

  const TensorMap final_values = golden.WithPrefix("final.");
  for (const auto& [name, value] : NamedTrainable(model)) {
    ASSERT_EQ(final_values.count(name), 1u) << name;
    const at::Tensor& expected = final_values.at(name);
    const auto [begin, end] = KeyBias(name, value.size(0));
    if (begin == end) {
      EXPECT_TRUE(TensorNear(value, expected, kParameterTolerance)) << name;
      continue;
    }
    EXPECT_TRUE(TensorNear(value.slice(0, 0, begin), expected.slice(0, 0, begin), kParameterTolerance)) << name;
    if (end < value.size(0)) {
      EXPECT_TRUE(TensorNear(value.slice(0, end), expected.slice(0, end), kParameterTolerance)) << name;
    }
    const at::Tensor moved = value.slice(0, begin, end) - golden["init." + name].slice(0, begin, end);
    EXPECT_LE(moved.abs().max().item<double>(), sum_of_lr) << name;
  }

  // Moments, by the optimiser's own order.
  size_t index = 0, compared = 0;
  for (const ParameterGroup& group : optimizer.groups()) {
    for (const std::string& name : group.names) {
      const AdamWState& state = optimizer.state()[index++];
      EXPECT_EQ(state.step.item<float>(), update);
      if (!golden.contains("final_exp_avg." + name)) continue;
      ++compared;
      const auto [begin, end] = KeyBias(name, state.exp_avg.size(0));
      const int64_t size = end > begin ? begin : state.exp_avg.size(0);
      EXPECT_TRUE(TensorNear(state.exp_avg.slice(0, 0, size), golden["final_exp_avg." + name].slice(0, 0, size),
                             kParameterTolerance));
      EXPECT_TRUE(TensorNear(state.exp_avg_sq.slice(0, 0, size), golden["final_exp_avg_sq." + name].slice(0, 0, size),
                             kParameterTolerance));
    }
  }
  EXPECT_GE(compared, 4u);
}

}  // namespace
}  // namespace tec
