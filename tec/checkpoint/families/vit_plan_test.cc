#include "tec/checkpoint/families/vit_plan.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/families/vit_builder.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
VitPlan PlanOf(const StateDict& tensors, const std::string& expected_family) {
  const absl::StatusOr<const Family*> family = RecogniseFamily(tensors);
  EXPECT_TRUE(family.ok()) << family.status();
  if (!family.ok()) return {};
  EXPECT_EQ((*family)->name, expected_family);
  absl::StatusOr<VitPlan> plan = PlanVit(**family, tensors);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *std::move(plan) : VitPlan();
}

std::vector<float> ValueOf(const VitPlan& plan, const std::string& name) {
  for (const PlannedTensor& planned : plan.tensors) {
    if (planned.name == name) {
      const TensorView tensor = planned.read();
      EXPECT_EQ(tensor.shape, planned.shape) << name;
      return tensor.Values<float>();
    }
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

TEST(VitPlanTest, APlainVitIsTakenAsItIsWithoutACopy) {
  Builder file = Plain();
  file.Linear("head", 10, kWidth);
  const VitPlan plan = PlanOf(file.tensors(), "timm");
  ASSERT_EQ(plan.tensors.size(), 4 + 12 * kDepth + 2);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    EXPECT_EQ(plan.tensors[i].name, file.tensors().entries()[i].first);
    EXPECT_EQ(plan.tensors[i].read().bytes.data(), file.tensors().entries()[i].second.bytes.data());
  }
  const VitTraits& traits = plan.traits;
  EXPECT_EQ(traits.width, kWidth);
  EXPECT_EQ(traits.depth, kDepth);
  EXPECT_EQ(traits.patch_size, kPatch);
  EXPECT_EQ(traits.channels, 3);
  EXPECT_EQ(traits.grid, kGrid);
  EXPECT_EQ(traits.hidden, 4 * kWidth);
  EXPECT_EQ(traits.registers, 0);
  EXPECT_EQ(traits.activation, Activation::kGelu);
  EXPECT_FALSE(traits.pre_norm || traits.relative_positions);
  EXPECT_TRUE(traits.final_norm);
  EXPECT_THAT(plan.left_out, ElementsAre("head.weight", "head.bias"));
  EXPECT_EQ(plan.Report(),
            "family timm: 30 of 30 tensors set, from 30 of the file's 32; left out by name: head.* (2); "
            "assumed: a square grid of 3 x 3 patches");
}

TEST(VitPlanTest, TakesAnyNumberOfChannels) {
  const VitPlan plan = PlanOf(Plain("", 1 + kGrid * kGrid, 5).tensors(), "timm");
  EXPECT_EQ(plan.traits.channels, 5);
  EXPECT_EQ(ValueOf(plan, "patch_embed.proj.weight").size(), kWidth * 5 * kPatch * kPatch);
}

TEST(VitPlanTest, RecognisesWhatOnlyAPrefixOrAHeadTellsApart) {
  PlanOf(Plain("module.").tensors(), "timm");
  PlanOf(Builder(Plain()).Linear("decoder_embed", 2, kWidth).Add("mask_token", {1, 1, 2}).tensors(), "mae");
  PlanOf(Builder(Plain("module.base_encoder.")).Linear("module.predictor.0", 2, 2).tensors(), "moco_v3");
  PlanOf(Builder(Plain("backbone.")).Add("backbone.masked_embed", {1, kWidth}).Linear("head.mlp.0", 2, 2).tensors(),
         "ibot");
  PlanOf(Builder(Plain("module.backbone.")).Add("module.head.last_layer.weight_v", {2, 2}).tensors(), "dino");
}

// A prefix is cut off only where it is a prefix; what lacks it must be known by name.
TEST(VitPlanTest, RefusesATensorOutsideThePrefix) {
  Builder file = Plain("module.backbone.");
  file.Add("module.backbone.masked_embed", {1, kWidth}).Add("norm.extra", {1});
  EXPECT_THAT(std::string(PlanVit(IbotFamily(), file.tensors()).status().message()),
              HasSubstr("norm.extra is unexpected"));
}

TEST(VitPlanTest, JoinsQueriesKeysAndValuesInThatOrder) {
  Builder file;
  file.Add("vit.embeddings.cls_token", {1, 1, kWidth});
  file.Add("vit.embeddings.position_embeddings", {1, 1 + kGrid * kGrid, kWidth});
  file.Add("vit.embeddings.patch_embeddings.projection.weight", {kWidth, 3, kPatch, kPatch});
  file.Add("vit.embeddings.patch_embeddings.projection.bias", {kWidth});
  for (int64_t i = 0; i < kDepth; ++i) {
    const std::string layer = absl::StrCat("vit.encoder.layer.", i, ".");
    // Not in the order in which they are joined.
    for (const char* part : {"value", "query", "key"}) {
      file.Linear(absl::StrCat(layer, "attention.attention.", part), kWidth, kWidth);
    }
    file.Linear(layer + "attention.output.dense", kWidth, kWidth).Linear(layer + "intermediate.dense", 8, kWidth);
    file.Linear(layer + "output.dense", kWidth, 8).Norm(layer + "layernorm_before").Norm(layer + "layernorm_after");
  }
  file.Norm("vit.layernorm").Linear("classifier", 3, kWidth);
  const VitPlan plan = PlanOf(file.tensors(), "hf_vit");
  EXPECT_EQ(plan.traits.hidden, 8);
  EXPECT_EQ(plan.traits.norm_epsilon, 1e-12);
  std::vector<float> joined;
  for (const char* part : {"query", "key", "value"}) {
    const std::string name = absl::StrCat("vit.encoder.layer.1.attention.attention.", part, ".weight");
    for (float value : file.tensors().Find(name)->Values<float>()) joined.push_back(value);
  }
  EXPECT_EQ(ValueOf(plan, "blocks.1.attn.qkv.weight"), joined);
  EXPECT_EQ(ValueOf(plan, "blocks.1.attn.proj.weight"),
            file.tensors().Find("vit.encoder.layer.1.attention.output.dense.weight")->Values<float>());
  EXPECT_EQ(ValueOf(plan, "blocks.0.mlp.fc2.bias"),
            file.tensors().Find("vit.encoder.layer.0.output.dense.bias")->Values<float>());
}

TEST(VitPlanTest, MultipliesLayerScaleIntoTheRows) {
  Builder file = Plain();
  file.Add("mask_token", {1, kWidth}).Add("register_tokens", {1, 3, kWidth});
  for (const char* name : {"blocks.0.ls1.gamma", "blocks.0.ls2.gamma", "blocks.1.ls1.gamma", "blocks.1.ls2.gamma"}) {
    file.Add(name, {kWidth});
  }
  const VitPlan plan = PlanOf(file.tensors(), "dinov2");
  EXPECT_EQ(plan.traits.registers, 3);
  EXPECT_EQ(ValueOf(plan, "reg_token"), file.tensors().Find("register_tokens")->Values<float>());
  const std::vector<float> gamma = file.tensors().Find("blocks.1.ls2.gamma")->Values<float>();
  std::vector<float> weight = file.tensors().Find("blocks.1.mlp.fc2.weight")->Values<float>();
  std::vector<float> bias = file.tensors().Find("blocks.1.mlp.fc2.bias")->Values<float>();
  for (size_t i = 0; i < weight.size(); ++i) weight[i] *= gamma[i / (4 * kWidth)];
  for (size_t i = 0; i < bias.size(); ++i) bias[i] *= gamma[i];
  EXPECT_EQ(ValueOf(plan, "blocks.1.mlp.fc2.weight"), weight);
  EXPECT_EQ(ValueOf(plan, "blocks.1.mlp.fc2.bias"), bias);
}

TEST(VitPlanTest, PositionsAreInterpolatedAsTheFamilyDoes) {
  const auto how = [](const Family& family, const Builder& file) {
    const absl::StatusOr<VitPlan> plan = PlanVit(family, file.tensors());
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? plan->traits.interpolation : PositionInterpolation::kPlain;
  };
  EXPECT_EQ(how(MaeFamily(), Plain()), PositionInterpolation::kPlain);
  EXPECT_EQ(how(TimmFamily(), Plain()), PositionInterpolation::kAntialias);
  EXPECT_EQ(how(IbotFamily(), Plain()), PositionInterpolation::kOffset);
  EXPECT_EQ(how(DinoTeacherFamily(), Plain()), PositionInterpolation::kOffset);
  EXPECT_EQ(how(Dinov2Family(), Plain()), PositionInterpolation::kOffset);
  EXPECT_EQ(how(Dinov2Family(), Plain().Add("register_tokens", {1, 3, kWidth})), PositionInterpolation::kAntialias);
}

TEST(VitPlanTest, AConfigIsCheckedBeforeItIsTaken) {
  const absl::StatusOr<VitConfig> config =
      ParseVitConfig(R"({"vision_config": {"num_attention_heads": 3, "hidden_act": "quick_gelu"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->heads, 3);
  EXPECT_EQ(config->activation, Activation::kQuickGelu);
  const auto refused = [](const std::string& text) { return std::string(ParseVitConfig(text).status().message()); };
  EXPECT_THAT(refused("[1]"), HasSubstr("no JSON object"));
  EXPECT_THAT(refused(R"({"hidden_act": "\u001b[2Jrelu"})"), HasSubstr("\"\\x1b[2Jrelu\"; known are gelu"));
  EXPECT_THAT(refused("{" + std::string(size_t{2} << 20, ' ') + "}"), HasSubstr("more than 1 MiB"));
}

TEST(VitPlanTest, ADistillationTokenKeepsItsPosition) {
  Builder file = Plain("", 2 + kGrid * kGrid);
  file.Add("dist_token", {1, 1, kWidth}).Linear("head", 2, kWidth).Linear("head_dist", 2, kWidth);
  const VitPlan plan = PlanOf(file.tensors(), "deit");
  const std::vector<float> token = file.tensors().Find("dist_token")->Values<float>();
  std::vector<float> rows = file.tensors().Find("pos_embed")->Values<float>();
  std::vector<float> sum;
  for (int64_t c = 0; c < kWidth; ++c) sum.push_back(token[c] + rows[kWidth + c]);
  rows.erase(rows.begin() + kWidth, rows.begin() + 2 * kWidth);
  EXPECT_EQ(ValueOf(plan, "reg_token"), sum);
  EXPECT_EQ(ValueOf(plan, "pos_embed"), rows);
}

TEST(VitPlanTest, ATableWithoutClassRowGetsAZeroOne) {
  Builder file = Plain("", kGrid * kGrid);
  // 9 = 1 + 2 x 4.
  EXPECT_THAT(std::string(PlanVit(TimmFamily(), file.tensors()).status().message()),
              AllOf(HasSubstr("9 rows"), HasSubstr("2x4"), HasSubstr("--grid=3x3")));
  VitHints hints;
  hints.grid_rows = hints.grid_columns = kGrid;
  const absl::StatusOr<VitPlan> plan = PlanVit(TimmFamily(), file.tensors(), hints);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<float> all = ValueOf(*plan, "pos_embed");
  std::vector<float> expected(kWidth);
  for (float value : file.tensors().Find("pos_embed")->Values<float>()) expected.push_back(value);
  EXPECT_EQ(all, expected);
}

TEST(VitPlanTest, BeitsKeysHaveNoBiasAndBlocksMayShareOneTable) {
  Builder whole = Plain();
  Builder file;
  for (const auto& [name, tensor] : whole.tensors()) {
    if (name != "pos_embed" && !absl::EndsWith(name, "qkv.bias") && !absl::StartsWith(name, "norm.")) {
      file.Add(name, tensor.shape);
    }
  }
  for (const char* block : {"blocks.0.", "blocks.1."}) {
    file.Add(absl::StrCat(block, "attn.q_bias"), {kWidth}).Add(absl::StrCat(block, "attn.v_bias"), {kWidth});
    file.Add(absl::StrCat(block, "gamma_1"), {kWidth}).Add(absl::StrCat(block, "gamma_2"), {kWidth});
  }
  const int64_t rows = (2 * kGrid - 1) * (2 * kGrid - 1) + 3;
  file.Add("rel_pos_bias.relative_position_bias_table", {rows, 2}).Add("mask_token", {1, 1, kWidth});
  const VitPlan plan = PlanOf(file.tensors(), "beit");
  EXPECT_EQ(plan.traits.grid, kGrid);
  EXPECT_EQ(plan.traits.heads, 2);
  EXPECT_FALSE(plan.traits.final_norm);
  std::vector<float> bias = file.tensors().Find("blocks.1.attn.q_bias")->Values<float>();
  bias.resize(2 * kWidth);
  for (float value : file.tensors().Find("blocks.1.attn.v_bias")->Values<float>()) bias.push_back(value);
  EXPECT_EQ(ValueOf(plan, "blocks.1.attn.qkv.bias"), bias);
  EXPECT_EQ(ValueOf(plan, "pos_embed"), std::vector<float>((1 + kGrid * kGrid) * kWidth));
  for (const char* block : {"blocks.0.", "blocks.1."}) {
    EXPECT_EQ(ValueOf(plan, absl::StrCat(block, "attn.relative_position_bias_table")),
              file.tensors().Find("rel_pos_bias.relative_position_bias_table")->Values<float>());
  }
}

TEST(VitPlanTest, ClipsActivationMustBeSaid) {
  Builder file;
  const std::string tower = "visual.";
  file.Add(tower + "class_embedding", {kWidth}).Add(tower + "positional_embedding", {1 + kGrid * kGrid, kWidth});
  file.Add(tower + "conv1.weight", {kWidth, 3, kPatch, kPatch}).Add(tower + "proj", {kWidth, 2});
  file.Norm(tower + "ln_pre").Norm(tower + "ln_post");
  const std::string block = tower + "transformer.resblocks.0.";
  file.Norm(block + "ln_1").Norm(block + "ln_2");
  file.Add(block + "attn.in_proj_weight", {3 * kWidth, kWidth}).Add(block + "attn.in_proj_bias", {3 * kWidth});
  file.Linear(block + "attn.out_proj", kWidth, kWidth).Linear(block + "mlp.c_fc", 4 * kWidth, kWidth);
  file.Linear(block + "mlp.c_proj", kWidth, 4 * kWidth);
  // The text tower.
  file.Add("positional_embedding", {7, 2}).Add("transformer.resblocks.0.ln_1.weight", {2}).Add("logit_scale", {});
  EXPECT_THAT(std::string(RecogniseFamily(file.tensors()).status().message()),
              AllOf(HasSubstr("--family=clip"), HasSubstr("--family=open_clip")));
  const absl::StatusOr<VitPlan> plan = PlanVit(ClipFamily(), file.tensors());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->traits.pre_norm);
  EXPECT_EQ(plan->traits.activation, Activation::kQuickGelu);
  EXPECT_EQ(plan->traits.norm_epsilon, 1e-5);
  EXPECT_EQ(ValueOf(*plan, "patch_embed.proj.bias"), std::vector<float>(kWidth));
  EXPECT_EQ(plan->left_out.size(), 4);
}

TEST(VitPlanTest, ListsAllThatIsWrong) {
  Builder whole = Plain(), file;
  for (const auto& [name, tensor] : whole.tensors()) {
    if (name == "blocks.1.norm2.bias") continue;
    const std::string other = name == "cls_token" ? "cls_token" : name == "norm.bias" ? "norm.bais" : name;
    file.Add(other, name == "blocks.0.mlp.fc2.weight" ? Shape{kWidth, 5} : tensor.shape);
  }
  file.Add("blocks.0.attn.q_norm.weight", {kWidth});
  EXPECT_THAT(
      std::string(PlanVit(TimmFamily(), file.tensors()).status().message()),
      AllOf(HasSubstr("blocks.1.norm2.bias is missing"), HasSubstr("norm.bias is missing (there is norm.bais)"),
            HasSubstr("norm.bais is unexpected (meant: norm.bias?)"), HasSubstr("q_norm.weight is unexpected"),
            HasSubstr("blocks.0.mlp.fc1.weight has shape [16,4]"), HasSubstr("blocks.1.mlp.fc2.weight has shape")));
  // What is missing is named as the family names it.
  EXPECT_THAT(std::string(PlanVit(HuggingFaceVitFamily(), whole.tensors()).status().message()),
              AllOf(HasSubstr("embeddings.cls_token is missing"), HasSubstr("; cls_token is unexpected")));
  StateDict student;
  for (const auto& [name, tensor] : whole.tensors()) {
    if (name == "norm.bias") continue;
    ASSERT_TRUE(student.Add("module.backbone." + name, tensor).ok());
  }
  EXPECT_THAT(std::string(PlanVit(IbotFamily(), student).status().message()),
              HasSubstr(" module.backbone.norm.bias is missing"));
  Builder gap = Plain();
  EXPECT_THAT(std::string(PlanVit(TimmFamily(), gap.Norm("blocks.7.norm1").tensors()).status().message()),
              HasSubstr("not numbered in a row: 0, 1, 7"));
  Builder pictures;
  EXPECT_THAT(std::string(RecogniseFamily(pictures.Add("conv1.weight", {4}).tensors()).status().message()),
              AllOf(HasSubstr("no vision transformer"), HasSubstr("conv1.weight")));
}

TEST(VitPlanTest, FamiliesHaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Family& family : Families()) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_EQ(FindFamily(family.name), &family);
    EXPECT_FALSE(family.marks.empty() || family.what.empty()) << family.name;
  }
  EXPECT_EQ(FindFamily("nothing"), nullptr);
}

VitRequest OfFamily(const std::string& name) {
  VitRequest request;
  request.family = name;
  return request;
}

TEST(ReadVitFileTest, TakesTheEntryOfAnIbotFile) {
  const std::string path = "tec/testing/goldens/checkpoints/ibot_student_teacher.pth";
  // The stored file is a cut-down one: what it lacks is named, in the entry that was chosen.
  const absl::Status status = ReadVitFile(path).status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(path), HasSubstr("family ibot:"), HasSubstr("blocks.1.norm2.weight is missing")));
  EXPECT_EQ(std::string(status.message()).find("unexpected"), std::string::npos) << status;
  EXPECT_THAT(std::string(ReadVitFile(path, OfFamily("ibot_teacher")).status().message()),
              HasSubstr("family ibot_teacher:"));
  EXPECT_THAT(std::string(ReadVitFile(path, OfFamily("ibt")).status().message()), HasSubstr("did you mean ibot?"));
}

TEST(ReadVitFileTest, ReadsShardsAndTheConfigBesideThem) {
  const std::string folder = ::testing::TempDir() + "/shards";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  Builder file;
  file.Add("embeddings.cls_token", {1, 1, kWidth}).Add("embeddings.position_embeddings", {1, 10, kWidth});
  file.Add("embeddings.patch_embeddings.projection.weight", {kWidth, 3, kPatch, kPatch});
  file.Add("embeddings.patch_embeddings.projection.bias", {kWidth});
  for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    file.Linear(absl::StrCat("layers.0.attention.", part), kWidth, kWidth);
  }
  file.Linear("layers.0.mlp.fc1", 4 * kWidth, kWidth).Linear("layers.0.mlp.fc2", kWidth, 4 * kWidth);
  file.Norm("layers.0.layernorm_before").Norm("layers.0.layernorm_after").Norm("layernorm");
  StateDict shards[2];
  std::string map;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const auto& [name, tensor] = file.tensors().entries()[i];
    ASSERT_TRUE(shards[i % 2].Add(name, tensor).ok());
    absl::StrAppend(&map, i == 0 ? "" : ",", "\"", name, "\":\"part", i % 2, ".safetensors\"");
  }
  const std::string index = folder + "/model.safetensors.index.json";
  ASSERT_TRUE(WriteSafetensors(folder + "/part0.safetensors", shards[0]).ok());
  ASSERT_TRUE(WriteSafetensors(folder + "/part1.safetensors", shards[1]).ok());
  ASSERT_TRUE(WriteFile(index, absl::StrCat("{\"metadata\":{},\"weight_map\":{", map, "}}")).ok());
  ASSERT_TRUE(WriteFile(folder + "/config.json", R"({"num_attention_heads": 2, "layer_norm_eps": 1e-7})").ok());
  for (const std::string& path : {index, folder}) {
    const absl::StatusOr<VitFile> read = ReadVitFile(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->container, "safetensors in 2 shards");
    EXPECT_EQ(read->plan.family, "hf_vit");
    EXPECT_EQ(read->plan.traits.heads, 2);
    EXPECT_EQ(read->plan.traits.norm_epsilon, 1e-7);
    EXPECT_EQ(ReadAll(read->plan)->size(), 18);
  }
  for (const char* bad :
       {R"({"weight_map":{"a":"../part0.safetensors"}})", R"({"weight_map":{"layernorm.bias":"part0.safetensors"}})",
        R"({"weight_map":{}})", R"([)", R"({"weight_map":{"a":[[[[[[[[[[[]]]]]]]]]]]}})"}) {
    ASSERT_TRUE(WriteFile(index, bad).ok());
    EXPECT_EQ(ReadVitFile(index).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

// Whether the model of a file without norm.* ends with its blocks, or with a plain norm; what is a guess is said.
TEST(VitPlanTest, WhatAFileWithoutFinalNormIsOf) {
  const auto without = [] {
    Builder builder;
    builder.Add("cls_token", {1, 1, kWidth}).Add("pos_embed", {1, 1 + kGrid * kGrid, kWidth});
    builder.Add("patch_embed.proj.weight", {kWidth, 3, kPatch, kPatch}).Add("patch_embed.proj.bias", {kWidth});
    AddBlocks(builder, "");
    return builder;
  };
  Builder scaled = without();
  for (int64_t i = 0; i < kDepth; ++i) {
    for (const char* name : {"ls1", "ls2"}) scaled.Add(absl::StrCat("blocks.", i, ".", name, ".gamma"), {kWidth});
  }
  VitConfig named, open_clip;
  named.architecture = "vit_base_patch16_224";
  open_clip.architecture = kOpenClipTower;
  constexpr char kPlain[] = "a plain norm after the last block, as the file has none";
  constexpr char kNone[] = "no norm after the last block";
  struct Case {
    Family family;
    Builder file;
    const VitConfig* config;
    bool no_norm;
    std::vector<std::string> assumed;
  };
  for (const Case& one :
       {Case{TimmFamily(), without(), nullptr, false, {kPlain}},
        Case{TimmFamily(), without(), &open_clip, false, {kPlain}}, Case{TimmFamily(), scaled, nullptr, true, {kNone}},
        Case{TimmFamily(), without(), &named, true, {}},
        Case{TimmFamily(), without().Norm("fc_norm"), nullptr, false, {}},
        Case{TimmFamily(), without().Norm("fc_norm"), &named, false, {}},
        Case{TimmFamily(), without().Norm("norm"), &named, false, {}},
        Case{TecFamily(), without(), nullptr, false, {}}}) {
    VitHints hints;
    hints.config = one.config;
    hints.grid_rows = hints.grid_columns = kGrid;
    const absl::StatusOr<VitPlan> plan = PlanVit(one.family, one.file.tensors(), hints);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->traits.no_norm, one.no_norm) << plan->Report();
    EXPECT_EQ(plan->traits.assumed, one.assumed) << plan->Report();
  }
}

}  // namespace
}  // namespace tec
