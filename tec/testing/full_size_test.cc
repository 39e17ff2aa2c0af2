// ViT-B/16 at its real size against the reference: weights from an integer hash, so that none are stored.

#include "tec/testing/full_size.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tec/losses/losses.h"
#include "tec/nn/module_state.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

// Tolerances of tec/testing/goldens/README.md.
constexpr double kLossTolerance = 1e-5;
constexpr double kSliceTolerance = 1e-4;
constexpr double kRelationSliceTolerance = 1e-5;
constexpr double kRelativeGradientTolerance = 1e-3;
constexpr double kRoundingNoise = 1e-6;
// Slices of gradients: their L2 norms agree to 1e-3, and no value is larger than the norm.
constexpr double kGradientSliceTolerance = 1e-3;

// 64 values at flat index floor(i * n / 64).
at::Tensor Slice(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous().view(-1);
  std::vector<float> values;
  for (int64_t i = 0; i < 64; ++i) values.push_back(flat[i * flat.numel() / 64].item<float>());
  return at::tensor(values);
}

class FullSizeTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FullSizeTest, MatchesTheReference) {
  const std::string stem = GetParam();
  const testing::Golden golden(stem + ".safetensors");
  const testing::FullSize real = testing::MakeFullSize(stem);
  const nlohmann::json& json = real.json;
  const Targets targets = real.base_model->forward(real.images);
  EXPECT_TRUE(BitEqual(targets.idx, golden["full.target.idx"]));
  EXPECT_TRUE(TensorNear(Slice(targets.features), golden["slice.target.fea"], kSliceTolerance));
  EXPECT_TRUE(TensorNear(Slice(targets.relations), golden["slice.target.att"], kRelationSliceTolerance));

  const TecOutput output = real.model->forward(real.images, real.noise, real.mask_ratio, targets.idx);
  EXPECT_TRUE(BitEqual(output.mask, golden["full.mask"]));
  EXPECT_TRUE(BitEqual(output.ids_restore, golden["full.ids_restore"]));
  EXPECT_TRUE(TensorNear(Slice(output.feature_prediction), golden["slice.forward_fea_decoder"], kSliceTolerance));
  EXPECT_TRUE(TensorNear(Slice(output.relation_logits), golden["slice.forward_att_decoder"], kRelationSliceTolerance));
  const at::Tensor feature_loss = FeatureLoss(output.feature_prediction, targets.features, output.mask);
  const at::Tensor relation_loss = RelationLoss(output.relation_logits, targets.relations, real.att_tau);
  EXPECT_NEAR(feature_loss.item<double>(), json["losses"]["loss_fea"].get<double>(), kLossTolerance);
  EXPECT_NEAR(relation_loss.item<double>(), json["losses"]["loss_att"].get<double>(), kLossTolerance);
  (feature_loss + relation_loss).backward();

  const nlohmann::json& gradients = json["gradient_l2_and_sum"];
  size_t compared = 0;
  for (const auto& [name, tensor] : NamedTrainable(*real.model)) {
    ASSERT_TRUE(gradients.contains(name)) << name;
    const double expected = gradients[name][0], actual = tensor.grad().norm().item<double>();
    if (expected < kRoundingNoise) {
      EXPECT_LE(actual, 10 * kRoundingNoise) << name;
      continue;
    }
    EXPECT_NEAR(actual, expected, kRelativeGradientTolerance * expected) << name;
    if (!golden.contains("slice.grad." + name)) continue;
    ++compared;
    EXPECT_TRUE(TensorNear(Slice(tensor.grad()), golden["slice.grad." + name], kGradientSliceTolerance * expected))
        << name;
  }
  EXPECT_GT(compared, 3u);
}

INSTANTIATE_TEST_SUITE_P(Base, FullSizeTest, ::testing::Values("full_base"));

}  // namespace
}  // namespace tec
