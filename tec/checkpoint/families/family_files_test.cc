// Files of families whose structure no tensor tells: what is assumed, asked for or refused. That their numbers are
// right is compared in //eval/features:family_goldens_test.

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tec/base/file.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/value.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Golden(const std::string& name) {
  return absl::StrCat("tec/checkpoint/families/goldens/", name, "/model.safetensors");
}

// The golden alone in a folder, with this config.json or none.
std::string CopyOf(const std::string& name, const std::string& config = "") {
  const std::string folder = absl::StrCat(::testing::TempDir(), "/",
                                          ::testing::UnitTest::GetInstance()->current_test_info()->name(), "_", name);
  EXPECT_TRUE(MakeDirectories(folder).ok());
  const absl::StatusOr<std::string> bytes = ReadFile(Golden(name));
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_TRUE(WriteFile(folder + "/model.safetensors", *bytes).ok());
  EXPECT_TRUE(config.empty() || WriteFile(folder + "/config.json", config).ok());
  return folder + "/model.safetensors";
}

VitFile Read(const std::string& path, const VitRequest& request = {}) {
  absl::StatusOr<VitFile> file = ReadVitFile(path, request);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : VitFile();
}

std::string Refusal(const std::string& path, const VitRequest& request = {}) {
  return std::string(ReadVitFile(path, request).status().message());
}

VitRequest Heads(int64_t heads) {
  VitRequest request;
  request.heads = heads;
  return request;
}

VitRequest Of(const std::string& family, int64_t heads = 2) {
  VitRequest request = Heads(heads);
  request.family = family;
  return request;
}

TEST(FamilyFilesTest, PeriodsTellTheHeads) {
  const VitFile file = Read(Golden("dinov3_meta"));
  EXPECT_EQ(file.plan.traits.heads, 2);
  ASSERT_EQ(RotaryGridOf(file.plan.traits).frequencies.size(), 2u);
  EXPECT_NEAR(RotaryGridOf(file.plan.traits).frequencies[1], 2 * M_PI / 10, 1e-6);
  EXPECT_THAT(Refusal(Golden("dinov3_meta"), Heads(1)), HasSubstr("--heads=1, but rope_embed.periods says 2"));
  // 224 pixels in patches of 4, which nothing says.
  EXPECT_EQ(file.plan.traits.grid, 56);
  EXPECT_THAT(file.description, HasSubstr("images of 224 x 224 pixels (it takes others too)"));
  VitRequest request;
  request.grid_rows = request.grid_columns = 4;
  EXPECT_EQ(Read(Golden("dinov3_meta"), request).plan.traits.grid, 4);
  request.grid_columns = 5;
  EXPECT_THAT(Refusal(Golden("dinov3_meta"), request), HasSubstr("only square grids are supported"));
}

TEST(FamilyFilesTest, TheMaskTakesTheBiasOfTheKeysAway) {
  const VitFile file = Read(Golden("dinov3_meta"));
  for (const PlannedTensor& tensor : file.plan.tensors) {
    if (tensor.name != "blocks.1.attn.qkv.bias") continue;
    const std::vector<float> bias = FloatsOf(tensor.read()), own = FloatsOf(tensor.sources[0]);
    ASSERT_EQ(bias.size(), 48u);
    for (size_t i = 0; i < bias.size(); ++i) EXPECT_EQ(bias[i], i / 16 == 1 ? 0.0f : own[i]) << i;
    return;
  }
  FAIL() << "no bias";
}

TEST(FamilyFilesTest, WhatIsAssumedIsSaid) {
  EXPECT_THAT(Read(Golden("eupe_timm_without_config"), Heads(2)).description,
              AllOf(HasSubstr("rotary positions as in the published models of family timm_dinov3 (theta 100)"),
                    HasSubstr("GELU, norms with epsilon 1e-05")));
  EXPECT_THAT(Read(Golden("dinov3_meta_swiglu")).description, HasSubstr("a gate by SiLU"));
  EXPECT_THAT(Read(Golden("dinov3_timm")).description, Not(HasSubstr("rotary positions as in")));
  // Six numbers of a head cannot be turned in four groups.
  EXPECT_THAT(Refusal(Golden("eupe_timm_without_config"), Heads(8)), HasSubstr("--heads must divide 4"));
}

TEST(FamilyFilesTest, AThetaOfTheConfigIsBelieved) {
  const RotaryGrid grid = RotaryGridOf(Read(Golden("dinov3_hf_swiglu")).plan.traits);
  ASSERT_EQ(grid.frequencies.size(), 2u);
  EXPECT_NEAR(grid.frequencies[1], 2 * M_PI / std::sqrt(50.0), 1e-12);
}

TEST(FamilyFilesTest, AGateThatIsNotSiluIsRefused) {
  const std::string config =
      R"({"model_type": "dinov3_vit", "hidden_size": 16, "num_attention_heads": 2, "use_gated_mlp": true,
          "hidden_act": "gelu", "image_size": 16})";
  EXPECT_THAT(Refusal(CopyOf("dinov3_hf_swiglu", config)),
              AllOf(HasSubstr("config.json"), HasSubstr("a gated MLP with hidden_act \"gelu\"")));
}

TEST(FamilyFilesTest, WithoutAClassTokenTheActivationIsAskedFor) {
  for (const char* name : {"siglip2_timm_of_the_mean_without_config", "ijepa_meta"}) {
    EXPECT_THAT(
        Refusal(Golden(name), Heads(2)),
        AllOf(HasSubstr("say --family=timm_siglip"), HasSubstr("--family=timm_no_class"), HasSubstr("--family=ijepa")));
  }
  EXPECT_EQ(Read(CopyOf("siglip_timm"), Of("timm_siglip")).plan.traits.activation, Activation::kGeluTanh);
  EXPECT_EQ(Read(CopyOf("siglip_timm"), Of("timm_no_class")).plan.traits.activation, Activation::kGelu);
}

TEST(FamilyFilesTest, EvaHasToBeSaid) {
  EXPECT_THAT(Refusal(CopyOf("eva02_timm"), Heads(2)), HasSubstr("say --family=eva02"));
  EXPECT_THAT(Refusal(CopyOf("eva02_small_timm"), Heads(2)),
              AllOf(HasSubstr("say --family=eva ("), HasSubstr("--family=eva02 (")));
  // Its MLP is not the other's.
  EXPECT_THAT(Refusal(CopyOf("eva02_enormous_timm"), Of("eva02")), HasSubstr("mlp.fc1.weight has shape [32,16]"));
}

TEST(FamilyFilesTest, TheSameNamesInAnotherStructureAreRefused) {
  // Norms after the sublayers.
  const std::string config =
      R"({"architecture": "vit_base_patch16_rpn_224", "model_args": {"num_heads": 2, "img_size": 16}})";
  EXPECT_THAT(Refusal(CopyOf("siglip_timm", config)), HasSubstr("is of architecture \"vit_base_patch16_rpn_224\""));
}

TEST(FamilyFilesTest, ArgumentsThatNoTensorShowsAreRefused) {
  const std::string config = R"({"architecture": "vit_base_patch16_dinov3",
                                 "model_args": {"num_heads": 2, "img_size": 16, "rope_rotate_half": false}})";
  EXPECT_THAT(Refusal(CopyOf("dinov3_timm", config), Of("timm_dinov3")),
              AllOf(HasSubstr("config.json"), HasSubstr("model_args has rope_rotate_half")));
}

TEST(FamilyFilesTest, OfIjepaTheTargetEncoderIsTaken) {
  const absl::StatusOr<Safetensors> golden = ReadSafetensors(Golden("ijepa_meta"));
  ASSERT_TRUE(golden.ok()) << golden.status();
  StateDict encoder;
  for (const auto& [name, tensor] : golden->tensors) {
    TensorView zero = TensorView::FromFloats(tensor.shape, std::vector<float>(tensor.NumElements()));
    ASSERT_TRUE(encoder.Add(name, zero).ok());
  }
  Value root = Value::Dict();
  root.Set("encoder", Value::FromStateDict(encoder));
  root.Set("target_encoder", Value::FromStateDict(golden->tensors));
  root.Set("epoch", Value::Int(3));
  const std::string path = ::testing::TempDir() + "/ijepa.pth.tar";
  ASSERT_TRUE(WritePth(path, root).ok());
  const VitFile file = Read(path, Of("ijepa"));
  EXPECT_EQ(file.entry, "target_encoder");
  EXPECT_EQ(FloatsOf(file.plan.tensors.back().read()), FloatsOf(golden->tensors.Find("module.norm.bias")[0]));
  EXPECT_THAT(Refusal(path, Heads(2)), AllOf(HasSubstr("--entry=encoder"), HasSubstr("--entry=target_encoder")));
}

// A published file of another model may stand beside the weights.
TEST(FamilyFilesTest, StatisticsOfTheImagesAreFound) {
  EXPECT_EQ(Read(Golden("siglip_hf")).statistics.mean, std::vector<float>({0.5f, 0.5f, 0.5f}));
  EXPECT_THAT(Read(Golden("siglip_hf")).statistics.source, HasSubstr("assumed, as in the published models"));
  EXPECT_FALSE(Read(Golden("dinov3_meta")).statistics.known());
  const std::string path = CopyOf("dinov3_meta"), folder = path.substr(0, path.rfind('/'));
  ASSERT_TRUE(WriteFile(folder + "/preprocessor_config.json",
                        R"({"image_mean": [0.43, 0.41, 0.296], "image_std": [0.213, 0.156, 0.143]})")
                  .ok());
  EXPECT_EQ(Read(path).statistics.std, std::vector<float>({0.213f, 0.156f, 0.143f}));
  EXPECT_THAT(Read(path).statistics.source, HasSubstr("preprocessor_config.json"));
  const std::string timm = CopyOf("dinov3_timm", R"({"architecture": "vit_base_patch16_dinov3",
      "model_args": {"num_heads": 2, "img_size": 16},
      "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}})");
  EXPECT_EQ(Read(timm).statistics.mean, std::vector<float>({0.1f, 0.2f, 0.3f}));
  const std::string siglip = CopyOf("siglip_hf", R"({"model_type": "siglip_vision_model", "num_attention_heads": 2})");
  ASSERT_TRUE(WriteFile(siglip.substr(0, siglip.rfind('/')) + "/preprocessor_config.json",
                        R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0, 0.5]})")
                  .ok());
  EXPECT_THAT(Refusal(siglip), HasSubstr("image_mean and image_std are no means and deviations of the channels"));
}

TEST(FamilyFilesTest, ThePlanSaysWhatTheEncoderIs) {
  const VitTraits siglip = Read(Golden("siglip_hf")).plan.traits;
  EXPECT_FALSE(siglip.class_token);
  EXPECT_EQ(siglip.pool_hidden, 32);
  EXPECT_EQ(siglip.activation, Activation::kGeluTanh);
  EXPECT_EQ(Read(Golden("siglip_hf_without_head")).plan.traits.pool_hidden, 0);
  const VitTraits aim = Read(Golden("aimv2_timm")).plan.traits;
  EXPECT_TRUE(aim.rms_norm && aim.patch_norm && !aim.class_token);
  EXPECT_EQ(aim.activation, Activation::kSwiGlu);
  const VitTraits eva = Read(Golden("eva02_clip_timm")).plan.traits;
  EXPECT_TRUE(eva.attention_norm && eva.mlp_norm);
  EXPECT_EQ(RotaryGridOf(eva).span, 16);
  const RotaryGrid perception = RotaryGridOf(Read(Golden("perception_encoder_timm")).plan.traits);
  EXPECT_EQ(perception.shift, 1);
  EXPECT_EQ(perception.span, 4);
  EXPECT_TRUE(Read(Golden("eva02_enormous_timm")).plan.traits.post_norm);
  EXPECT_EQ(Read(Golden("registers_without_class_timm")).plan.traits.registers, 4);
}

}  // namespace
}  // namespace tec
