// What is particular to RADIO's files; that they give RADIO's features: //eval/features:family_goldens_test.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/vit_config.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kWidth = 16, kSide = 8, kTokens = 8;

std::string PathOf(const std::string& name) {
  return absl::StrCat("tec/checkpoint/families/goldens/", name, "/model.safetensors");
}

// The golden file's tensors but for `without`, with `more`.
StateDict Changed(const std::string& without, const std::vector<StateDict::Entry>& more = {}) {
  const absl::StatusOr<Safetensors> file = ReadSafetensors(PathOf("radio_nvidia"));
  EXPECT_TRUE(file.ok()) << file.status();
  StateDict tensors;
  for (const auto& [name, tensor] : file->tensors) {
    if (!without.empty() && name.find(without) != std::string::npos) continue;
    EXPECT_TRUE(tensors.Add(name, tensor).ok());
  }
  for (const auto& [name, tensor] : more) EXPECT_TRUE(tensors.Add(name, tensor).ok());
  return tensors;
}

StateDict::Entry Numbers(const std::string& name, const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return {name, TensorView::FromFloats(shape, std::vector<float>(count, 0.5f))};
}

absl::StatusOr<VitPlan> PlanOf(const StateDict& tensors, const VitHints& hints = {}) {
  const absl::StatusOr<const Family*> family = RecogniseFamily(tensors);
  EXPECT_TRUE(family.ok()) << family.status();
  EXPECT_EQ((*family)->name, "radio");
  return PlanVit(**family, tensors, hints);
}

std::vector<float> ValuesOf(const VitPlan& plan, const std::string& name) {
  for (const PlannedTensor& planned : plan.tensors) {
    if (planned.name == name) return planned.read().Values<float>();
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

TEST(RadioTest, NormalisesPixelsAsTheFileSays) {
  const absl::StatusOr<VitFile> file = ReadVitFile(PathOf("radio_nvidia"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->plan.mean, ElementsAre(0.4f, 0.5f, 0.6f));
  EXPECT_EQ(file->statistics.mean, file->plan.mean);
  EXPECT_EQ(file->statistics.std, file->plan.std);
  EXPECT_THAT(file->statistics.source, HasSubstr("normalises pixels itself"));
  // 20 pixels of its config, in patches of 4; the table is for 8 x 8.
  EXPECT_EQ(file->plan.traits.grid, 5);
  EXPECT_TRUE(file->plan.traits.no_norm);
  EXPECT_EQ(file->plan.traits.registers, kTokens - 1);
}

TEST(RadioTest, TheFirstTokenOfTheSummaryIsTheClass) {
  const StateDict tensors = Changed("");
  const absl::StatusOr<VitPlan> plan = PlanOf(tensors);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<float> rows = tensors.Find("radio_model.model.patch_generator.cls_token.token")->Values<float>();
  const auto row = [&rows](int64_t i) {
    return std::vector<float>(rows.begin() + i * kWidth, rows.begin() + (i + 1) * kWidth);
  };
  EXPECT_EQ(ValuesOf(*plan, "cls_token"), row(1));
  const std::vector<float> others = ValuesOf(*plan, "reg_token");
  ASSERT_EQ(others.size(), (kTokens - 1) * kWidth);
  EXPECT_EQ(std::vector<float>(others.begin(), others.begin() + kWidth), row(0));
  EXPECT_EQ(std::vector<float>(others.begin() + kWidth, others.begin() + 2 * kWidth), row(2));

  const absl::StatusOr<VitPlan> without = PlanOf(Changed("summary_idxs"));
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_EQ(ValuesOf(*without, "cls_token"), row(0));
}

TEST(RadioTest, PositionsAreResampledForAnyGrid) {
  const absl::StatusOr<VitPlan> plan = PlanOf(Changed(""));
  ASSERT_TRUE(plan.ok()) << plan.status();
  // Without a config the table's own, as it is smaller than the published images.
  EXPECT_EQ(plan->traits.grid, kSide);
  const std::vector<float> own = ValuesOf(*plan, "pos_embed");
  ASSERT_EQ(own.size(), (1 + kSide * kSide) * kWidth);
  // Half the grid: each place lies in the middle of four rows.
  const std::vector<float> half = plan->positions_at(kSide / 2).Values<float>();
  const auto at = [&own](int64_t y, int64_t x) { return own[(1 + y * kSide + x) * kWidth]; };
  EXPECT_NEAR(half[kWidth], (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4, 1e-6);
  EXPECT_EQ(half[0], 0);

  VitHints hints;
  hints.grid_rows = 3;
  hints.grid_columns = 3;
  const absl::StatusOr<VitPlan> three = PlanOf(Changed(""), hints);
  ASSERT_TRUE(three.ok()) << three.status();
  EXPECT_EQ(three->traits.grid, 3);
  EXPECT_EQ(ValuesOf(*three, "pos_embed"), plan->positions_at(3).Values<float>());
  hints.grid_columns = 4;
  EXPECT_THAT(std::string(PlanOf(Changed(""), hints).status().message()), HasSubstr("only square grids"));
}

TEST(RadioTest, WhatChangesFeaturesAndIsNotReadIsRefused) {
  const std::string block = "radio_model.model.blocks.0.attn.qkv.";
  const absl::StatusOr<VitPlan> spectral =
      PlanOf(Changed(block + "weight", {Numbers(block + "parametrizations.weight.original", {48, 16})}));
  EXPECT_THAT(std::string(spectral.status().message()), HasSubstr("disable_spectral_reparam"));
  EXPECT_THAT(std::string(spectral.status().message()), Not(HasSubstr("is missing")));
  const absl::StatusOr<VitPlan> normaliser =
      PlanOf(Changed("", {Numbers("radio_model.feature_normalizer.mean", {kWidth})}));
  EXPECT_THAT(std::string(normaliser.status().message()),
              HasSubstr("radio_model.feature_normalizer.mean: a model that"));
  const absl::StatusOr<VitPlan> std_missing = PlanOf(Changed("norm_std"));
  EXPECT_THAT(std::string(std_missing.status().message()), HasSubstr("mean and deviation"));
  const absl::StatusOr<VitPlan> heads = PlanOf(Changed("", {Numbers("radio_model.adaptors.clip.fc1.weight", {4, 4})}));
  EXPECT_TRUE(heads.ok()) << heads.status();
}

TEST(RadioTest, ItsConfigsAreRead) {
  const absl::StatusOr<VitConfig> nvidia = ParseVitConfig(
      R"({"args": {"cpe_max_size": 2048, "model_kwargs": {"weight_init": "skip"}}, "patch_size": 16,
          "preferred_resolution": [768, 768], "vitdet_window_size": null})");
  ASSERT_TRUE(nvidia.ok()) << nvidia.status();
  EXPECT_EQ(nvidia->model_type, "radio");
  EXPECT_EQ(nvidia->table_pixels, 2048);
  EXPECT_EQ(nvidia->image_height, 768);
  for (const char* text : {R"({"args": {"cpe_max_size": 2048, "model_kwargs": {"scaled_ln": true}}})",
                           R"({"args": {"cpe_max_size": 2048}, "vitdet_window_size": 16})"}) {
    EXPECT_EQ(ParseVitConfig(text).status().code(), absl::StatusCode::kFailedPrecondition) << text;
  }
  const absl::StatusOr<VitConfig> hub = ParseVitConfig(
      R"({"model_type": "radio", "hidden_size": 20, "mlp_ratio": 3.75, "num_cls_tokens": 3, "num_registers": 7})");
  ASSERT_TRUE(hub.ok()) << hub.status();
  EXPECT_EQ(hub->hidden, 75);
  EXPECT_FALSE(ParseVitConfig(R"({"model_type": "radio", "hidden_size": 20, "mlp_ratio": 1e300})").ok());
  EXPECT_EQ(hub->token_rows, 10);

  VitConfig other = *nvidia;
  other.path = "config.json";
  VitHints hints;
  hints.config = &other;
  // 2048 pixels, where the tensors have a table for 8 x 8 patches of 4.
  EXPECT_THAT(std::string(PlanOf(Changed(""), hints).status().message()), HasSubstr("config.json says 2048 pixels"));
}

}  // namespace
}  // namespace tec
