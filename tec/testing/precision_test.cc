// What bfloat16 costs: one step of ViT-B/16 at its real size in mixed precision against the same step in float32.
//
// The bounds. bfloat16 keeps 8 significant bits, so rounding a number changes it by at most u = 2^-8 of itself, by
// u / sqrt(3) in the root mean square. A matrix product rounds both factors and its result (sums are in float32): an
// error of about u = 0.4 % of the product. It reaches the residual stream, which stays in float32, through two branches
// of 2 (MLP) or 4 (attention) products in each of 12 + 2 blocks. Were every branch as large as the stream, the 14 * 6
// errors would add up as a random walk to sqrt(84) u = 3.6 %; that is the largest error to expect in a prediction.
//
//   losses     Errors of single values average out over the 10^5 and more of a mean, to first order; what is left is
//              of second order, 3.6 %^2 = 0.13 %. The bound is 1 %.
//   gradients  The way back doubles the number of products and uses the rounded values of the way forward: up to
//              sqrt(3) * 3.6 % = 6 % of noise, an angle whose cosine is 0.998. The bound, 0.98, is 20 % of noise, which
//              leaves room for tensors whose gradient is a small difference of large terms.
//
// A tensor whose gradient is nothing but rounding has no direction. Key biases are such tensors in part (softmax does
// not see them), so biases of q, k and v are compared without their middle third, and decoder_qk's without its second
// half.

#include <cstdio>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/losses/losses.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tec/testing/golden.h"
#include "tools/goldens/full_size.h"

namespace tec {
namespace {

constexpr double kLossBound = 0.01;
constexpr double kCosineBound = 0.98;
// Gradients in float32 below this are rounding alone (tec/testing/goldens/README.md).
constexpr double kRoundingNoise = 1e-6;

struct Step {
  double feature_loss = 0, relation_loss = 0;
  NamedTensors gradients;
};

// Without what softmax hides.
at::Tensor VisibleGradient(const std::string& name, const at::Tensor& gradient) {
  const int64_t n = gradient.size(0);
  if (absl::EndsWith(name, "qkv.bias")) {
    return at::cat({gradient.narrow(0, 0, n / 3), gradient.narrow(0, 2 * n / 3, n / 3)});
  }
  if (absl::EndsWith(name, "decoder_qk.bias")) return gradient.narrow(0, 0, n / 2);
  return gradient;
}

Step RunStep(TecModel& model, const FullSizeSetting& real, const Targets& targets, at::ScalarType precision) {
  Step step;
  at::Tensor loss;
  {
    AutocastGuard autocast(at::kCPU, precision);
    const TecOutput output = model.forward(real.images, real.noise, real.mask_ratio, targets.idx);
    const at::Tensor feature_loss = FeatureLoss(output.feature_prediction, targets.features, output.mask);
    const at::Tensor relation_loss = RelationLoss(output.relation_logits, targets.relations, real.att_tau);
    step.feature_loss = feature_loss.item<double>();
    step.relation_loss = relation_loss.item<double>();
    loss = feature_loss + relation_loss;
  }
  loss.backward();
  for (auto& [name, parameter] : NamedTrainable(model)) {
    step.gradients.emplace_back(name, parameter.grad().clone());
    at::Tensor(parameter).mutable_grad().reset();
  }
  return step;
}

TEST(PrecisionTest, Bfloat16StaysNearFloat32) {
  const nlohmann::json json = testing::GoldenJson("full_base.json");
  const absl::StatusOr<FullSizeSetting> real = FullSizeSettingOf(json);
  ASSERT_TRUE(real.ok()) << real.status();
  const auto base_model = MakeFullSizeBaseModel(json);
  ASSERT_TRUE(base_model.ok()) << base_model.status();
  const auto model = MakeFullSizeModel(json);
  ASSERT_TRUE(model.ok()) << model.status();
  const Targets targets = (*base_model)->forward(real->images);
  const Step exact = RunStep(**model, *real, targets, at::kFloat);
  // The base model in bfloat16 too, but the patches selected, and with them the relations, as in float32: another
  // choice among near-equal patches is another target, not an error of precision.
  Targets rounded;
  {
    AutocastGuard autocast(at::kCPU, at::kBFloat16);
    rounded = (*base_model)->forward(real->images);
  }
  EXPECT_FALSE(at::equal(rounded.features, targets.features)) << "bfloat16 was not used at all";
  rounded.idx = targets.idx;
  rounded.relations = targets.relations;
  const Step step = RunStep(**model, *real, rounded, at::kBFloat16);

  EXPECT_NEAR(step.feature_loss, exact.feature_loss, kLossBound * exact.feature_loss);
  EXPECT_NEAR(step.relation_loss, exact.relation_loss, kLossBound * exact.relation_loss);
  EXPECT_NE(step.feature_loss, exact.feature_loss);
  RecordProperty("relative_error_of_loss_fea", std::to_string(step.feature_loss / exact.feature_loss - 1));
  RecordProperty("relative_error_of_loss_att", std::to_string(step.relation_loss / exact.relation_loss - 1));

  double smallest = 1;
  std::string worst;
  size_t compared = 0;
  ASSERT_EQ(step.gradients.size(), exact.gradients.size());
  for (size_t i = 0; i < exact.gradients.size(); ++i) {
    const std::string& name = exact.gradients[i].first;
    const at::Tensor a = VisibleGradient(name, exact.gradients[i].second).reshape({-1}).to(at::kDouble);
    const at::Tensor b = VisibleGradient(name, step.gradients[i].second).reshape({-1}).to(at::kDouble);
    const double norm = a.norm().item<double>();
    if (norm < kRoundingNoise) continue;
    ++compared;
    const double cosine = at::dot(a, b).item<double>() / (norm * b.norm().item<double>());
    EXPECT_GT(cosine, kCosineBound) << name << ", norm " << norm;
    if (!(cosine >= smallest)) {
      smallest = cosine;
      worst = name;
    }
  }
  RecordProperty("smallest_cosine", std::to_string(smallest) + " of " + worst);
  std::printf("losses off by %.2g and %.2g; smallest cosine %.5f, of %s; %zu tensors\n",
              step.feature_loss / exact.feature_loss - 1, step.relation_loss / exact.relation_loss - 1, smallest,
              worst.c_str(), compared);
  EXPECT_GT(compared, exact.gradients.size() * 9 / 10);
}

}  // namespace
}  // namespace tec
