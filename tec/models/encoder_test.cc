// What the reference has no numbers for; those: tools/goldens/check_models.cc.

#include "tec/models/encoder.h"

#include <cmath>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tec/models/tec_model.h"
#include "tec/nn/initialise.h"
#include "tec/nn/positions.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

// Tolerances of tec/testing/goldens/README.md.
constexpr double kOutputTolerance = 1e-5;

class FinetuneModelTest : public ::testing::Test {
 protected:
  FinetuneOptions Options() const {
    const nlohmann::json config = golden_.metadata("config");
    FinetuneOptions options;
    options.encoder = {config["img_size"], config["patch_size"], config["embed_dim"], config["depth"],
                       config["num_heads"]};
    options.classes = config["num_classes"];
    options.global_pool = config["global_pool"];
    options.mlp_token = config["mlp_token"];
    options.drop_path = config["drop_path"];
    return options;
  }

  const testing::Golden golden_{"finetune_tiny.safetensors"};
};

TEST_F(FinetuneModelTest, DropPathLeavesBranchesOutByImage) {
  FinetuneOptions options = Options();
  options.drop_path = 0.5;
  FinetuneModel model(options);
  ASSERT_TRUE(LoadState(model, golden_.WithPrefix("param.")).ok());
  const int64_t depth = options.encoder.depth;
  const at::Tensor& images = golden_["in.images"];
  // Draws near one keep every branch, and scale it by 1 / keep: block 0 has rate 0 and stays.
  const at::Tensor draws = at::zeros({2 * depth, images.size(0)});
  draws.select(1, 1).fill_(0.999);
  const at::Tensor pooled = model.Pool(images, draws), plain = model.Pool(images);
  // Image 0: only block 0 is left, the others' rates are above the draws.
  TensorMap first_block;
  for (const auto& [name, tensor] : golden_.WithPrefix("param.")) {
    if (name.rfind("blocks.", 0) != 0 || name.rfind("blocks.0.", 0) == 0) first_block.emplace(name, tensor);
  }
  FinetuneOptions shallow_options = options;
  shallow_options.encoder.depth = 1;
  FinetuneModel shallow(shallow_options);
  ASSERT_TRUE(LoadState(shallow, first_block).ok());
  EXPECT_TRUE(TensorNear(pooled[0], shallow.Pool(images)[0], kOutputTolerance));
  EXPECT_FALSE(TensorNear(pooled[1], plain[1], 1e-3));   // Scaled up.
  EXPECT_FALSE(TensorNear(pooled[1], pooled[0], 1e-3));  // By image.
}

TecOptions NewModel(bool mlp_token) {
  TecOptions options;
  options.encoder = {12, 4, 24, 3, 2};
  options.decoder = {16, 1, 2};
  options.mlp_token = mlp_token;
  options.pred_att = true;
  return options;
}

TensorMap StateOf(const torch::nn::Module& model) {
  TensorMap state;
  for (const auto& [name, tensor] : NamedState(model)) state.emplace(name, tensor.detach().clone());
  return state;
}

at::Tensor Images(int64_t size) {
  return (at::arange(2 * 3 * size * size, at::kDouble) * 0.37).cos().to(at::kFloat).view({2, 3, size, size});
}

TEST(EncoderTest, GivesTheFeaturesOfTheTrainedModel) {
  for (const bool mlp_token : {false, true}) {
    TecModel model(NewModel(mlp_token));
    InitialisePretraining(model, 2);
    Encoder encoder(NewModel(mlp_token).encoder);
    ASSERT_TRUE(LoadEncoder(encoder, StateOf(model)).ok());
    const EncoderFeatures features = encoder.forward(Images(12));
    // With nothing masked, and noise in order, the new model encodes the same tokens.
    const at::Tensor noise = at::arange(9, at::kFloat).expand({2, 9});
    const at::Tensor tokens = model.Encode(Images(12), noise, 0).latents.back();
    EXPECT_TRUE(TensorNear(features.cls, tokens.select(1, 0), kOutputTolerance));
    EXPECT_TRUE(TensorNear(features.patch_mean, tokens.slice(1, 1).mean(1), kOutputTolerance));
  }
}

TEST(EncoderTest, GivesTheLastBlocks) {
  TecModel model(NewModel(false));
  InitialisePretraining(model, 2);
  Encoder encoder(NewModel(false).encoder);
  ASSERT_TRUE(LoadEncoder(encoder, StateOf(model)).ok());
  const at::Tensor noise = at::arange(9, at::kFloat).expand({2, 9});
  const std::vector<at::Tensor> expected = model.Encode(Images(12), noise, 0).latents;
  const std::vector<at::Tensor> last = encoder.LastBlocks(Images(12), 2);
  ASSERT_EQ(last.size(), 2u);
  EXPECT_TRUE(TensorNear(last[0], expected[expected.size() - 2], kOutputTolerance));
  EXPECT_TRUE(TensorNear(encoder.Normalise(last[1]), expected.back(), kOutputTolerance));
}

TEST(EncoderTest, TakesAConvertedEncoderWithoutNorm) {
  TecModel model(NewModel(true));
  InitialisePretraining(model, 2);
  const TensorMap whole = StateOf(model);
  TensorMap converted = *EncoderState(whole);  // cls_token_mlp folded, as conversion does.
  converted.erase("norm.weight");
  converted.erase("norm.bias");
  Encoder encoder(NewModel(true).encoder), same(NewModel(true).encoder);
  const absl::Status status = LoadEncoder(encoder, converted);
  ASSERT_TRUE(status.ok()) << status;
  // A fresh model's norm is the plain one.
  ASSERT_TRUE(LoadEncoder(same, whole).ok());
  EXPECT_TRUE(BitEqual(encoder.forward(Images(12)).cls, same.forward(Images(12)).cls));
}

TEST(EncoderTest, RefusesAHalfTokenMlpAndAHalfNorm) {
  TecModel model(NewModel(true));
  InitialisePretraining(model, 2);
  TensorMap state = StateOf(model);
  state.erase("cls_token_mlp.fc2.bias");
  EXPECT_EQ(EncoderState(state).status().code(), absl::StatusCode::kInvalidArgument);
  state = StateOf(model);
  state.erase("norm.weight");
  Encoder encoder(NewModel(true).encoder);
  EXPECT_NE(std::string(LoadEncoder(encoder, state).message()).find("norm.weight is missing"), std::string::npos);
}

FinetuneOptions Classifier(bool mlp_token) {
  FinetuneOptions options;
  options.encoder = NewModel(mlp_token).encoder;
  options.classes = 1000;
  options.mlp_token = mlp_token;
  return options;
}

TEST(LoadPretrainedTest, TakesTheEncoderAndSetsTheHeadAnew) {
  TecModel model(NewModel(true));
  InitialisePretraining(model, 2);
  FinetuneModel classifier(Classifier(true));
  InitialiseFinetuning(classifier, 7);
  ASSERT_TRUE(LoadPretrained(classifier, StateOf(model), 7).ok());
  const TensorMap own = StateOf(classifier), pretrained = StateOf(model);
  EXPECT_TRUE(BitEqual(own.at("blocks.2.mlp.fc2.weight"), pretrained.at("blocks.2.mlp.fc2.weight")));
  EXPECT_TRUE(BitEqual(own.at("cls_token_mlp.fc1.weight"), pretrained.at("cls_token_mlp.fc1.weight")));
  EXPECT_TRUE(BitEqual(own.at("head.bias"), at::zeros({1000})));
  EXPECT_NEAR(own.at("head.weight").std().item<double>() / 2e-5, 1, 5 / std::sqrt(24000.0));
  EXPECT_TRUE(BitEqual(own.at("fc_norm.weight"), at::ones({24})));
}

TEST(LoadPretrainedTest, ClassifiesByTheTokenWithoutAFinalNorm) {
  FinetuneOptions options = Classifier(false);
  options.global_pool = false;
  Encoder encoder(options.encoder);
  InitialisePretraining(encoder, 2);
  TensorMap state = StateOf(encoder);
  const at::Tensor bias = state["norm.bias"];
  state.erase("norm.weight");
  state.erase("norm.bias");
  FinetuneModel classifier(options);
  InitialiseFinetuning(classifier, 7);
  const absl::Status status = LoadPretrained(classifier, state, 7);
  ASSERT_TRUE(status.ok()) << status;
  const at::Tensor token = encoder.LastBlocks(Images(12), 1).front().select(1, 0);
  EXPECT_TRUE(
      TensorNear(classifier.Pool(Images(12)), at::layer_norm(token, {24}, {}, {}, kNormEpsilon), kOutputTolerance));
  // Half of one is damage.
  state["norm.bias"] = bias;
  EXPECT_NE(std::string(LoadPretrained(classifier, state, 7).message()).find("norm.weight is missing"),
            std::string::npos);
}

TEST(LoadPretrainedTest, ChangesTheGridOfThePositions) {
  TecModel model(NewModel(false));
  InitialisePretraining(model, 2);
  FinetuneOptions options = Classifier(false);
  options.encoder.image_size = 20;
  FinetuneModel classifier(options);
  InitialiseFinetuning(classifier, 7);
  TensorMap state = StateOf(model);
  state["pos_embed"] = state["pos_embed"] + 0.1;  // As if learned.
  ASSERT_TRUE(LoadPretrained(classifier, state, 7).ok());
  EXPECT_TRUE(BitEqual(StateOf(classifier).at("pos_embed"), InterpolatePositions(state["pos_embed"], 5)));
  EXPECT_EQ(classifier.forward(Images(20)).sizes(), at::IntArrayRef({2, 1000}));
}

TEST(LoadPretrainedTest, RefusesWhatDoesNotFitAndChangesNothing) {
  TecModel model(NewModel(true));
  InitialisePretraining(model, 2);
  FinetuneModel without(Classifier(false)), with(Classifier(true));
  InitialiseFinetuning(without, 7);
  InitialiseFinetuning(with, 7);
  const TensorMap before = StateOf(with);
  EXPECT_NE(std::string(LoadPretrained(without, StateOf(model), 7).message()).find("--mlp_token"), std::string::npos);
  TensorMap state = StateOf(model);
  state["blocks.3.norm1.weight"] = at::ones({24});
  state.erase("patch_embed.proj.bias");
  const absl::Status status = LoadPretrained(with, state, 7);
  EXPECT_NE(std::string(status.message()).find("blocks.3.norm1.weight is unexpected"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("patch_embed.proj.bias is missing"), std::string::npos) << status;
  for (const auto& [name, tensor] : NamedState(with)) EXPECT_TRUE(BitEqual(tensor, before.at(name))) << name;
}

// Everything that DINOv3, EVA-02, SigLIP and AIMv2 have and MAE has not, at once.
VitOptions Foreign() {
  VitOptions options = {12, 4, 24, 3, 2};
  VitVariant& variant = options.variant;
  variant.class_token = false;
  variant.registers = 2;
  variant.hidden = 20;
  variant.activation = Activation::kSwiGlu;
  variant.rms_norm = variant.patch_norm = variant.pre_norm = variant.post_norm = true;
  variant.attention_norm = variant.mlp_norm = true;
  variant.rotary = {0, 3, 0, RotaryFrequencies(100, 3)};
  return options;
}

TEST(EncoderTest, HasNoClassFeatureWithoutTokenAndPool) {
  VitOptions options = Foreign();
  Encoder bare(options);
  InitialisePretraining(bare, 2);
  EXPECT_FALSE(Encoder::HasClass(options));
  EXPECT_FALSE(bare.forward(Images(12)).cls.defined());
  EXPECT_EQ(bare.forward(Images(12)).patch_mean.sizes(), at::IntArrayRef({2, 24}));
  options.variant.pool_hidden = 48;
  options.variant.activation = Activation::kGeluTanh;
  Encoder pooled(options);
  InitialisePretraining(pooled, 2);
  EXPECT_TRUE(Encoder::HasClass(options));
  const at::Tensor tokens = pooled.Normalise(pooled.LastBlocks(Images(12), 1).front());
  EXPECT_EQ(tokens.sizes(), at::IntArrayRef({2, 11, 24}));
  EXPECT_TRUE(BitEqual(pooled.forward(Images(12)).cls, pooled.Class(tokens)));
}

TEST(LoadPretrainedTest, TakesOtherProjectsEncoders) {
  VitOptions vit = Foreign();
  Encoder encoder(vit);
  InitialisePretraining(encoder, 2);
  FinetuneOptions options = Classifier(false);
  options.encoder = vit;
  options.drop_path = 0.5;
  FinetuneModel classifier(options);
  InitialiseFinetuning(classifier, 7);
  TensorMap state = StateOf(encoder);
  state["attn_pool.query"] = at::zeros({1, 1, 24});  // Left out.
  const absl::Status status = LoadPretrained(classifier, state, 7);
  ASSERT_TRUE(status.ok()) << status;
  // A fresh fc_norm of the mean of the patches, registers left out.
  const at::Tensor mean = encoder.Patches(encoder.LastBlocks(Images(12), 1).front()).mean(1);
  EXPECT_TRUE(
      TensorNear(classifier.Pool(Images(12)), at::layer_norm(mean, {24}, {}, {}, kNormEpsilon), kOutputTolerance));
  classifier.Pool(Images(12)).square().mean().backward();
  for (const auto& [name, tensor] : NamedTrainable(classifier)) {
    EXPECT_EQ(tensor.grad().defined(), name.rfind("head.", 0) != 0) << name;
  }
  options.global_pool = false;
  EXPECT_NE(std::string(Validate(options).message()).find("no [CLS] token to classify: --global_pool"),
            std::string::npos);
}

TEST(CheckFitsTest, SaysWhatElseTheChannelsCouldBe) {
  VitTraits traits;
  traits.width = 24;
  traits.depth = 3;
  traits.patch_size = 4;
  traits.grid = 3;
  traits.channels = 3;
  VitOptions options = {12, 4, 24, 3, 2};
  EXPECT_TRUE(CheckFits(traits, options, /*interpolate_positions=*/false).ok());
  options.channels = 1;
  EXPECT_EQ(std::string(CheckFits(traits, options, false).message()),
            "the file's ViT has a patch embedding for images of 3 channels (the experiment's have 1: --channels=3, the "
            "default, decodes grey pictures as RGB, which this file can see)");
  std::swap(traits.channels, options.channels);
  EXPECT_EQ(std::string(CheckFits(traits, options, false).message()),
            "the file's ViT has a patch embedding for images of 1 channels (the experiment's have 3: --channels must "
            "be 1, or the weights those of a model for 3 channels)");
}

}  // namespace
}  // namespace tec
