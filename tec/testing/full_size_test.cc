// ViT-B/16 at its real size against the reference: weights from an integer hash, so that none are stored.

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/losses/losses.h"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"
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

// The formula of full_base.json, "hash": 24 random bits of element i of stream j.
int64_t Hash(uint64_t seed, uint64_t j, uint64_t i) {
  uint64_t z = (seed << 56 | j << 32 | i) + 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  z ^= z >> 31;
  return static_cast<int64_t>(z >> 40);
}

void Fill(at::Tensor tensor, uint64_t seed, uint64_t j, int64_t offset, double scale, float shift) {
  float* values = tensor.data_ptr<float>();
  at::parallel_for(0, tensor.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      values[i] = shift + static_cast<float>(static_cast<double>(Hash(seed, j, i) - offset) * scale);
    }
  });
}

at::Tensor Input(at::IntArrayRef sizes, uint64_t seed, uint64_t j, int64_t offset, double scale) {
  at::Tensor tensor = at::empty(sizes);
  Fill(tensor, seed, j, offset, scale, 0);
  return tensor;
}

constexpr int64_t kCentre = int64_t{1} << 23;

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
  const nlohmann::json json = testing::GoldenJson(stem + ".json");
  const nlohmann::json& config = json["config"];
  const uint64_t seed = config["seed"], model_j = 0;
  const nlohmann::json& streams = json["hash"]["j"];
  const uint64_t teacher_j = streams["teacher_parameter"], images_j = streams["images"], noise_j = streams["noise"];

  // Named ViT sizes: patch 16, head width 64; the decoder has 2 blocks of 16 heads.
  const int64_t width = config["embed_dim"], size = config["img_size"], batch = config["batch"];
  BaseModelOptions base_options;
  int64_t depth = 0;
  for (const auto& parameter : json["parameters"]) {
    depth += absl::StartsWith(std::string(parameter[0]), "blocks.") &&
             absl::EndsWith(std::string(parameter[0]), "norm1.bias");
  }
  base_options.encoder = {size, 16, width, depth, width / 64};
  base_options.last_layers = config["last_layers"];
  base_options.top_patches = config["topk"];
  TecOptions options;
  options.encoder = base_options.encoder;
  options.decoder = {config["decoder_embed_dim"], 2, 16};
  options.mlp_token = options.pred_att = true;
  ASSERT_EQ(options.groups(), config["num_adap"].get<int64_t>());

  // Stream j belongs to the j-th name in byte-wise sorted order, which is that of std::map.
  const auto fill = [&](torch::nn::Module& model, const nlohmann::json& names, uint64_t first_j) {
    TensorMap own;
    for (const auto& [name, tensor] : NamedState(model)) own.emplace(name, tensor);
    at::NoGradGuard no_grad;
    uint64_t j = first_j;
    for (const auto& parameter : names) {
      const std::string name = parameter[0];
      const uint64_t stream = j++;
      const auto found = own.find(name);
      if (found == own.end()) continue;  // The base model's norm and head, which we do not have.
      ASSERT_EQ(nlohmann::json(found->second.sizes().vec()), parameter[1]) << name;
      if (absl::EndsWith(name, "pos_embed")) continue;  // The sin-cos table that is there already.
      const bool norm = found->second.dim() == 1 && absl::EndsWith(name, ".weight");
      Fill(found->second, seed, stream, kCentre, std::ldexp(1, -28), norm ? 1 : 0);
    }
  };
  BaseModel base_model(base_options);
  fill(base_model, json["teacher_parameters"], teacher_j);
  TecModel model(options);
  ASSERT_EQ(json["parameters"].size(), NamedState(model).size());
  fill(model, json["parameters"], model_j);
  if (HasFatalFailure()) return;

  const at::Tensor images = Input({batch, 3, size, size}, seed, images_j, kCentre, std::ldexp(1, -22));
  const at::Tensor noise = Input({batch, options.encoder.patches()}, seed, noise_j, 0, std::ldexp(1, -24));
  const Targets targets = base_model.forward(images);
  EXPECT_TRUE(BitEqual(targets.idx, golden["full.target.idx"]));
  EXPECT_TRUE(TensorNear(Slice(targets.features), golden["slice.target.fea"], kSliceTolerance));
  EXPECT_TRUE(TensorNear(Slice(targets.relations), golden["slice.target.att"], kRelationSliceTolerance));

  const TecOutput output = model.forward(images, noise, config["mask_ratio"], targets.idx);
  EXPECT_TRUE(BitEqual(output.mask, golden["full.mask"]));
  EXPECT_TRUE(BitEqual(output.ids_restore, golden["full.ids_restore"]));
  EXPECT_TRUE(TensorNear(Slice(output.feature_prediction), golden["slice.forward_fea_decoder"], kSliceTolerance));
  EXPECT_TRUE(TensorNear(Slice(output.relation_logits), golden["slice.forward_att_decoder"], kRelationSliceTolerance));
  const at::Tensor feature_loss = FeatureLoss(output.feature_prediction, targets.features, output.mask);
  const at::Tensor relation_loss = RelationLoss(output.relation_logits, targets.relations, config["att_tau"]);
  EXPECT_NEAR(feature_loss.item<double>(), json["losses"]["loss_fea"].get<double>(), kLossTolerance);
  EXPECT_NEAR(relation_loss.item<double>(), json["losses"]["loss_att"].get<double>(), kLossTolerance);
  (feature_loss + relation_loss).backward();

  const nlohmann::json& gradients = json["gradient_l2_and_sum"];
  size_t compared = 0;
  for (const auto& [name, tensor] : NamedTrainable(model)) {
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
