// What the reference has no numbers for; those: tools/goldens/check_models.cc.

#include "tec/models/base_model.h"

#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/nn/parallel.h"
#include "tec/nn/product.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

class BaseModelTest : public ::testing::Test {
 protected:
  BaseModelOptions Options(int64_t last_layers) const {
    const nlohmann::json config = golden_.metadata("config");
    return {{config["img_size"], config["patch_size"], config["embed_dim"], config["depth"], config["num_heads"]},
            last_layers,
            config["topkatt"]};
  }

  const testing::Golden golden_{"teacher_tiny.safetensors"};
};

TEST_F(BaseModelTest, GivesNoRelationsUnlessAsked) {
  BaseModelOptions options = Options(2);
  options.top_patches = 0;
  BaseModel model(options);
  ASSERT_TRUE(LoadBaseModel(model, golden_.WithPrefix("param.")).ok());
  const Targets targets = model.forward(golden_["in.images"]);
  BaseModel with_relations(Options(2));
  ASSERT_TRUE(LoadBaseModel(with_relations, golden_.WithPrefix("param.")).ok());
  EXPECT_TRUE(BitEqual(targets.features, with_relations.forward(golden_["in.images"]).features));
  EXPECT_FALSE(targets.features.requires_grad());
  EXPECT_FALSE(targets.relations.defined());
  EXPECT_FALSE(targets.idx.defined());
}

TEST_F(BaseModelTest, IsFrozenAndLoadsOnlyWhatFits) {
  BaseModel model(Options(2));
  EXPECT_TRUE(NamedTrainable(model).empty());
  TensorMap state = golden_.WithPrefix("param.");
  state.erase("blocks.0.attn.qkv.bias");
  state["head.weight"] = at::zeros({10, 48});  // Left out by name.
  state["blocks.0.attn.relative"] = at::zeros({3});
  const absl::Status status = LoadBaseModel(model, state);
  EXPECT_NE(std::string(status.message()).find("blocks.0.attn.qkv.bias is missing"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("blocks.0.attn.relative is unexpected"), std::string::npos) << status;
  EXPECT_EQ(std::string(status.message()).find("head"), std::string::npos) << status;
}

TEST_F(BaseModelTest, SeesItsOwnNormalisation) {
  const Normalisation run = {{0.1f, 0.2f, 0.3f}, {0.5f, 0.25f, 2.0f}}, own = {{0.4f, 0.0f, 0.6f}, {1.0f, 0.5f, 0.25f}};
  const auto normalised = [](const at::Tensor& pixels, const Normalisation& by) {
    return (pixels - at::tensor(by.mean).view({1, 3, 1, 1})) / at::tensor(by.std).view({1, 3, 1, 1});
  };
  const at::Tensor pixels = golden_["in.images"].sigmoid();
  BaseModel plain(Options(2)), model(Options(2));
  ASSERT_TRUE(LoadBaseModel(plain, golden_.WithPrefix("param.")).ok());
  ASSERT_TRUE(LoadBaseModel(model, golden_.WithPrefix("param.")).ok());
  model.Renormalise(run, own);
  EXPECT_TRUE(testing::TensorNear(model.forward(normalised(pixels, run)).features,
                                  plain.forward(normalised(pixels, own)).features, /*tolerance=*/5e-5));
  // It is no part of the state.
  EXPECT_EQ(NamedState(model).size(), NamedState(plain).size());
}

at::Tensor Wave(at::IntArrayRef sizes, double frequency) {
  int64_t n = 1;
  for (int64_t size : sizes) n *= size;
  return (at::arange(n, at::kDouble) * frequency).cos().to(at::kFloat).view(sizes);
}

BaseModelOptions WithoutClassToken() {
  BaseModelOptions options = {{12, 4, 16, 2, 2}, /*last_layers=*/1, /*top_patches=*/9};
  options.encoder.variant.class_token = false;
  options.encoder.variant.registers = 1;
  options.encoder.variant.rotary = {0.5, 2, -1, RotaryFrequencies(100, 2)};
  return options;
}

TEST(BaseModelWithoutClassTokenTest, RanksByTheMeanQueryOfThePatches) {
  // Sums of nine values of order one in float32.
  constexpr double kTolerance = 1e-5;
  BaseModel model(WithoutClassToken());
  at::NoGradGuard no_grad;
  double frequency = 0.7;
  for (auto& [name, tensor] : NamedState(model)) tensor.copy_(Wave(tensor.sizes(), frequency += 0.31) * 0.4);
  const at::Tensor images = Wave({2, 3, 12, 12}, 0.37);
  const Targets targets = model.forward(images);
  ASSERT_EQ(targets.relations.sizes(), at::IntArrayRef({2, 1, 10, 2, 9}));
  // With all patches selected the first row is the mean of the others, whatever their order.
  EXPECT_TRUE(testing::TensorNear(targets.relations.select(2, 0), targets.relations.slice(2, 1).mean(2), kTolerance));
  const at::Tensor rank = targets.relations.select(2, 0).mean(2).squeeze(1);  // [N, L]
  EXPECT_TRUE(BitEqual(targets.idx.squeeze(1), at::argsort(rank, /*stable=*/true, 1, /*descending=*/true)));
  EXPECT_TRUE(BitEqual(targets.features, model.BlockOutputs(images).back().slice(1, 1)));
}

// In bfloat16 threads take images of their own where they can be divided evenly: what each would give alone, in order.
TEST(BaseModelPartsTest, AreThoseOfTheirImages) {
  BaseModel model({{12, 4, 16, 2, 2}, /*last_layers=*/2, /*top_patches=*/4});
  at::NoGradGuard no_grad;
  double frequency = 0.7;
  for (auto& [name, tensor] : NamedState(model)) tensor.copy_(Wave(tensor.sizes(), frequency += 0.31) * 0.4);
  const at::Tensor images = Wave({7, 3, 12, 12}, 0.37);
  const int threads = at::get_num_threads();
  const AutocastGuard autocast(at::kCPU, at::kBFloat16);
  at::set_num_threads(1);
  std::vector<Targets> alone;
  for (int64_t i = 0; i < 6; i += 2) alone.push_back(model.forward(images.narrow(0, i, 2)));
  const Targets all = model.forward(images);
  at::set_num_threads(3);
  const Targets six = model.forward(images.narrow(0, 0, 6)), uneven = model.forward(images);
  at::set_num_threads(threads);
  const auto joined = [&](at::Tensor Targets::*member) {
    return at::cat({alone[0].*member, alone[1].*member, alone[2].*member});
  };
  if (HasBfloat16Instructions()) {
    EXPECT_TRUE(BitEqual(six.features, joined(&Targets::features)));
    EXPECT_TRUE(BitEqual(six.relations, joined(&Targets::relations)));
    EXPECT_TRUE(BitEqual(six.idx, joined(&Targets::idx)));
  }
  EXPECT_TRUE(testing::TensorNear(six.features, joined(&Targets::features), 1.0 / 64));
  EXPECT_FALSE(six.features.requires_grad());
  // Each image for itself, however many there are.
  ASSERT_EQ(uneven.features.sizes(), all.features.sizes());
  EXPECT_TRUE(testing::TensorNear(uneven.features, all.features, 1.0 / 64));
  EXPECT_TRUE(testing::TensorNear(all.features.narrow(0, 0, 6), six.features, 1.0 / 64));
}

}  // namespace
}  // namespace tec
