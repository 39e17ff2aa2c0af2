// Files as timm and transformers write them, against what those make of the same images: encoder and base model.
// tec/checkpoint/families/goldens/README.md says what is in them.

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "eval/features/pretrained.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

// Values of order 1 to 5 through two blocks, whose sums are in another order there.
constexpr double kTolerance = 5e-5;
constexpr char kGoldens[] = "tec/checkpoint/families/goldens/";

struct Expected {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
  int64_t Number(const char* key) const { return std::atoll(metadata.at(key).c_str()); }
};

Expected ReadExpected(const std::string& name) {
  const absl::StatusOr<Safetensors> file = ReadSafetensors(absl::StrCat(kGoldens, name, "/expected.safetensors"));
  if (!file.ok()) {
    ADD_FAILURE() << file.status();
    std::abort();
  }
  Expected expected;
  for (const auto& [key, tensor] : file->tensors) expected.tensors.emplace(key, TensorOf(tensor));
  for (const auto& [key, value] : file->metadata) expected.metadata.emplace(key, value);
  return expected;
}

VitRequest RequestOf(const Expected& expected) {
  VitRequest request;
  request.heads = expected.Number("heads");
  return request;
}

// The families that have to be said are told; all others are found by their names.
VitFile Read(const std::string& name, const Expected& expected) {
  const std::string path = absl::StrCat(kGoldens, name, "/model.safetensors");
  VitRequest request = RequestOf(expected);
  absl::StatusOr<VitFile> file = ReadVitFile(path, request);
  if (!file.ok()) {
    request.family = expected.metadata.at("family");
    EXPECT_TRUE(FindFamily(request.family)->must_be_said) << file.status();
    file = ReadVitFile(path, request);
  }
  if (!file.ok()) {
    ADD_FAILURE() << file.status();
    std::abort();
  }
  EXPECT_EQ(file->plan.family, expected.metadata.at("family"));
  return *std::move(file);
}

VitOptions OptionsOf(const VitTraits& traits, int64_t image_size) {
  return {image_size, traits.patch_size, traits.width, traits.depth, traits.heads, VariantOf(traits), traits.channels};
}

class FamilyGoldensTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FamilyGoldensTest, TheEncoderGivesTheirFeatures) {
  const Expected expected = ReadExpected(GetParam());
  const VitFile file = Read(GetParam(), expected);
  const at::Tensor images = expected.tensors.at("images");
  at::NoGradGuard no_grad;
  Encoder encoder(OptionsOf(file.plan.traits, images.size(2)));
  const absl::Status loaded = LoadEncoder(encoder, file.plan);
  ASSERT_TRUE(loaded.ok()) << loaded;
  const at::Tensor last = encoder.LastBlocks(images, 1).front();
  EXPECT_TRUE(TensorNear(last, expected.tensors.at("last"), kTolerance));
  const EncoderFeatures features = encoder.forward(images);
  EXPECT_TRUE(TensorNear(features.patch_mean, expected.tensors.at("patch_mean"), kTolerance));
  ASSERT_EQ(features.cls.defined(), expected.tensors.count("cls") != 0);
  if (!features.cls.defined()) return;
  EXPECT_TRUE(TensorNear(features.cls, expected.tensors.at("cls"), kTolerance));
}

TEST_P(FamilyGoldensTest, TheBaseModelGivesTheirLogits) {
  const Expected expected = ReadExpected(GetParam());
  const VitFile file = Read(GetParam(), expected);
  const at::Tensor images = expected.tensors.at("images");
  constexpr int64_t kTop = 3;
  BaseModel model({OptionsOf(file.plan.traits, images.size(2)), /*last_layers=*/1, kTop});
  const absl::Status loaded = LoadBaseModel(model, file.plan, /*interpolate_positions=*/false);
  ASSERT_TRUE(loaded.ok()) << loaded;
  const Targets targets = model.forward(images);
  const int64_t prefix = expected.Number("prefix");
  EXPECT_TRUE(TensorNear(targets.features, expected.tensors.at("last").slice(1, prefix), kTolerance));
  // [N, H, T, L]. Without [CLS] the mean of the patches' rows ranks them.
  const at::Tensor logits = expected.tensors.at("logits").slice(3, prefix);
  const at::Tensor first = expected.Number("class_token") == 1 ? logits.select(2, 0) : logits.slice(2, prefix).mean(2);
  EXPECT_TRUE(TensorNear(targets.relations.select(1, 0).select(1, 0), first, kTolerance));
  const at::Tensor idx = at::argsort(first.mean(1), /*stable=*/true, 1, /*descending=*/true).slice(1, 0, kTop);
  EXPECT_TRUE(at::equal(targets.idx.select(1, 0), idx));
  for (int64_t image = 0; image < images.size(0); ++image) {
    const at::Tensor rows = logits[image].index_select(1, idx[image] + prefix).transpose(0, 1);  // [K, H, L]
    EXPECT_TRUE(TensorNear(targets.relations[image][0].slice(0, 1), rows, kTolerance));
  }
}

// What evaluators make of the same file, where it is for images of this size.
TEST_P(FamilyGoldensTest, EvaluatorsReadTheSame) {
  const Expected expected = ReadExpected(GetParam());
  const VitFile file = Read(GetParam(), expected);
  const at::Tensor images = expected.tensors.at("images");
  VitRequest request = RequestOf(expected);
  request.family = file.plan.family;
  const absl::StatusOr<Pretrained> pretrained =
      ReadPretrained(absl::StrCat(kGoldens, GetParam(), "/model.safetensors"), request);
  ASSERT_TRUE(pretrained.ok()) << pretrained.status();
  if (pretrained->encoder.image_size != images.size(2)) return;
  at::NoGradGuard no_grad;
  const absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*pretrained);
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  EXPECT_TRUE(TensorNear((*encoder)->forward(images).patch_mean, expected.tensors.at("patch_mean"), kTolerance));
}

INSTANTIATE_TEST_SUITE_P(Cases, FamilyGoldensTest,
                         ::testing::Values("aimv2_hf", "aimv2_timm", "beit3_timm", "clip_with_registers_timm",
                                           "dinov3_hf", "dinov3_hf_swiglu", "dinov3_meta", "dinov3_meta_swiglu",
                                           "dinov3_timm", "dinov3_timm_swiglu", "eupe_timm_without_config",
                                           "eva02_clip_timm", "eva02_enormous_timm", "eva02_small_timm", "eva02_timm",
                                           "ijepa_hf", "ijepa_meta", "perception_encoder_gigantic_timm",
                                           "perception_encoder_timm", "radio_hf", "radio_nvidia", "radio_nvidia_dinov2",
                                           "radio_nvidia_training", "registers_without_class_timm", "rope_timm",
                                           "rope_without_class_timm", "siglip2_timm",
                                           "siglip2_timm_of_the_mean_without_config", "siglip_hf",
                                           "siglip_hf_without_head", "siglip_timm"),
                         [](const ::testing::TestParamInfo<std::string>& info) { return info.param; });

}  // namespace
}  // namespace tec
