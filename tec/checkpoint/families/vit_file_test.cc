#include "tec/checkpoint/families/vit_file.h"

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "tec/base/file.h"
#include "tec/checkpoint/families/vit_builder.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/value.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Path(const std::string& name) {
  const std::string folder =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  EXPECT_TRUE(MakeDirectories(folder).ok());
  return absl::StrCat(folder, "/", name);
}

Value DictOf(const StateDict& tensors) { return Value::FromStateDict(tensors); }

// A .pth with these entries.
std::string WriteEntries(const std::string& name, const std::vector<std::pair<std::string, Value>>& entries) {
  Value root = Value::Dict();
  for (const auto& [key, value] : entries) root.Set(key, value);
  const std::string path = Path(name);
  EXPECT_TRUE(WritePth(path, root).ok());
  return path;
}

std::string WriteOne(const std::string& name, const StateDict& tensors) {
  const std::string path = Path(name);
  EXPECT_TRUE(WriteSafetensors(path, tensors).ok());
  return path;
}

VitRequest With(int64_t heads, const std::string& entry = "", const std::string& family = "") {
  VitRequest request;
  request.heads = heads;
  request.entry = entry;
  request.family = family;
  return request;
}

std::string Refusal(const std::string& path, const VitRequest& request = {}) {
  return std::string(ReadVitFile(path, request).status().message());
}

TEST(VitFileTest, AnyStackOfPrefixesIsCutOff) {
  for (const char* prefix : {"", "module.", "_orig_mod.", "_orig_mod.module.", "model.", "encoder.", "backbone.",
                             "model.encoder.backbone.", "visual.trunk.", "anything.at.all."}) {
    const absl::StatusOr<VitFile> file =
        ReadVitFile(WriteEntries("a.pth", {{"state_dict", DictOf(Plain(prefix).tensors())}}), With(2));
    ASSERT_TRUE(file.ok()) << prefix << file.status();
    EXPECT_EQ(file->plan.family, "timm");
    EXPECT_EQ(file->plan.prefix, prefix);
    EXPECT_EQ(file->plan.tensors.size(), 4 + 12 * kDepth + 2);
  }
  // The family is found behind the prefix too.
  Builder mae = Plain("_orig_mod.");
  mae.Linear("_orig_mod.decoder_embed", 2, kWidth).Add("_orig_mod.mask_token", {1, 1, 2});
  EXPECT_EQ(ReadVitFile(WriteOne("mae.safetensors", mae.tensors()), With(2))->plan.family, "mae");
}

TEST(VitFileTest, TheEntryIsTheOneThatHoldsWeights) {
  const Value weights = DictOf(Plain().tensors());
  // A "model" that is no dict; names that nobody knows; beside tensors of other use.
  const std::string named = WriteEntries(
      "named.pth", {{"model", Value::String("vit_base")}, {"state_dict", weights}, {"epoch", Value::Int(3)}});
  EXPECT_EQ(ReadVitFile(named, With(2))->entry, "state_dict");
  EXPECT_EQ(ReadVitFile(WriteEntries("other.pth", {{"model_state_dict", weights}}), With(2))->entry,
            "model_state_dict");
  const std::string msn = WriteEntries(
      "msn.pth", {{"target_encoder", DictOf(Plain("module.").Linear("module.fc.fc1", 4, kWidth).tensors())},
                  {"prototypes", Value::Tensor(TensorView::FromFloats({2}, {1, 2}))}});
  EXPECT_EQ(ReadVitFile(msn, With(2))->entry, "target_encoder");
}

TEST(VitFileTest, OfSeveralEntriesTheUserChooses) {
  // The second holds other numbers.
  const StateDict first = Plain().tensors();
  StateDict second;
  for (const auto& [name, tensor] : first) {
    std::vector<float> values = tensor.Values<float>();
    for (float& value : values) value = -value;
    ASSERT_TRUE(second.Add(name, TensorView::FromFloats(tensor.shape, values)).ok());
  }
  const auto first_value = [](const absl::StatusOr<VitFile>& file) {
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->plan.tensors[0].read().Values<float>()[0] : 0;
  };
  const float value = first.entries()[0].second.Values<float>()[0];
  const std::string ema = WriteEntries("ema.pth", {{"model", DictOf(first)}, {"model_ema", DictOf(second)}});
  EXPECT_EQ(first_value(ReadVitFile(ema, With(2))), value);
  EXPECT_EQ(first_value(ReadVitFile(ema, With(2, "model_ema"))), -value);
  EXPECT_THAT(ReadVitFile(ema, With(2))->description, HasSubstr("--entry can choose: model_ema"));
  EXPECT_THAT(Refusal(ema, With(2, "model_em")), HasSubstr("no entry \"model_em\""));

  const std::string jepa = WriteEntries("jepa.pth", {{"encoder", DictOf(first)}, {"target_encoder", DictOf(second)}});
  EXPECT_THAT(Refusal(jepa, With(2)), HasSubstr("--entry=encoder or --entry=target_encoder"));
  EXPECT_EQ(first_value(ReadVitFile(jepa, With(2, "target_encoder"))), -value);

  // The same before the names.
  StateDict both;
  for (const auto& [name, tensor] : first) ASSERT_TRUE(both.Add("student.backbone." + name, tensor).ok());
  for (const auto& [name, tensor] : second) ASSERT_TRUE(both.Add("teacher.backbone." + name, tensor).ok());
  ASSERT_TRUE(both.Add("student.dino_head.mlp.0.weight", TensorView::FromFloats({1}, {1})).ok());
  const std::string trainer = WriteOne("trainer.safetensors", both);
  EXPECT_THAT(Refusal(trainer, With(2)), HasSubstr("--entry=student or --entry=teacher"));
  EXPECT_EQ(first_value(ReadVitFile(trainer, With(2, "teacher"))), -value);
  EXPECT_EQ(first_value(ReadVitFile(trainer, With(2, "student"))), value);
  EXPECT_THAT(Refusal(trainer, With(2, "pupil")), HasSubstr("no entry \"pupil\""));
}

TEST(VitFileTest, HeadsAreToldOrAssumedAloud) {
  const std::string plain = WriteOne("plain.safetensors", Plain().tensors());
  const absl::StatusOr<VitFile> untold = ReadVitFile(plain);
  ASSERT_TRUE(untold.ok()) << untold.status();
  EXPECT_EQ(untold->plan.traits.heads, 0);
  EXPECT_THAT(std::string(CheckHeadsKnown(*untold).message()), AllOf(HasSubstr(plain), HasSubstr("--heads")));
  EXPECT_EQ(ReadVitFile(plain, With(2))->plan.traits.heads, 2);
  EXPECT_THAT(Refusal(plain, With(3)), HasSubstr("3 attention heads do not divide the width 4"));
}

// 1 + R + L rows: the registers' are theirs (timm's reg_tokens without no_embed_class).
TEST(VitFileTest, RegistersMayHavePositions) {
  Builder file = Plain("", 1 + 2 + kGrid * kGrid);
  file.Add("reg_token", {1, 2, kWidth});
  const absl::StatusOr<VitFile> read = ReadVitFile(WriteOne("a.safetensors", file.tensors()), With(2));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->plan.traits.grid, kGrid);
  const absl::StatusOr<StateDict> all = ReadAll(read->plan);
  const std::vector<float> rows = file.tensors().Find("pos_embed")->Values<float>();
  std::vector<float> tokens = file.tensors().Find("reg_token")->Values<float>();
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] += rows[kWidth + i];
  EXPECT_EQ(all->Find("reg_token")->Values<float>(), tokens);
  std::vector<float> rest(rows.begin(), rows.begin() + kWidth);
  rest.insert(rest.end(), rows.begin() + 3 * kWidth, rows.end());
  EXPECT_EQ(all->Find("pos_embed")->Values<float>(), rest);
}

TEST(VitFileTest, ATableThatCanBeReadTwoWaysIsAskedFor) {
  // 1 + 2 x 4 = 3 x 3.
  const std::string path = WriteOne("a.safetensors", Plain("", 9).tensors());
  EXPECT_THAT(Refusal(path, With(2)), AllOf(HasSubstr("9 rows"), HasSubstr("2x4"), HasSubstr("--grid=3x3")));
  VitRequest square = With(2), oblong = With(2), other = With(2);
  ASSERT_TRUE(ParseGrid("3", &square).ok());
  ASSERT_TRUE(ParseGrid("2x4", &oblong).ok());
  ASSERT_TRUE(ParseGrid("4x4", &other).ok());
  EXPECT_EQ(ReadVitFile(path, square)->plan.traits.grid, 3);
  EXPECT_THAT(Refusal(path, oblong), HasSubstr("2 x 4 patches (--grid): only square grids"));
  EXPECT_THAT(Refusal(path, other), HasSubstr("has 9 rows, --grid says 4 x 4 patches"));
  for (const char* bad : {"x", "3x", "3x3x3", "-1", "0x3", "99999999"}) {
    VitRequest request;
    EXPECT_FALSE(ParseGrid(bad, &request).ok()) << bad;
  }
  EXPECT_THAT(Refusal(WriteOne("b.safetensors", Plain("", 8).tensors()), With(2)), HasSubstr("other grids are not"));
}

TEST(VitFileTest, ALinearMapWithoutBiasHasAZeroOne) {
  const StateDict whole = Plain().tensors();
  StateDict file;
  for (const auto& [name, tensor] : whole) {
    if (!absl::EndsWith(name, "qkv.bias") && !absl::EndsWith(name, "fc1.bias")) {
      ASSERT_TRUE(file.Add(name, tensor).ok());
    }
  }
  const absl::StatusOr<VitFile> read = ReadVitFile(WriteOne("a.safetensors", file), With(2));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ReadAll(read->plan)->Find("blocks.1.attn.qkv.bias")->Values<float>(), std::vector<float>(3 * kWidth));
  // In one block alone it is missing.
  StateDict cut;
  for (const auto& [name, tensor] : whole) {
    if (name == "blocks.1.attn.qkv.bias") continue;
    ASSERT_TRUE(cut.Add(name, tensor).ok());
  }
  EXPECT_THAT(Refusal(WriteOne("b.safetensors", cut), With(2)), HasSubstr("blocks.1.attn.qkv.bias is missing"));
  // A norm without bias may be another kind of norm.
  StateDict norm;
  for (const auto& [name, tensor] : whole) {
    if (absl::EndsWith(name, "norm1.bias")) continue;
    ASSERT_TRUE(norm.Add(name, tensor).ok());
  }
  EXPECT_THAT(Refusal(WriteOne("c.safetensors", norm), With(2)), HasSubstr("blocks.0.norm1.bias is missing"));
}

TEST(VitFileTest, TheTokenMlpMayBeAnyWide) {
  Builder file = Plain();
  file.Linear("cls_token_mlp.fc1", 2 * kWidth, kWidth).Linear("cls_token_mlp.fc2", kWidth, 2 * kWidth);
  const std::string path = WriteOne("a.safetensors", file.tensors());
  const absl::StatusOr<VitFile> read = ReadVitFile(path, With(2));
  ASSERT_TRUE(read.ok()) << read.status();
  // fc2(GELU(fc1(token))).
  const auto values = [&](const char* name) { return file.tensors().Find(name)->Values<float>(); };
  std::vector<double> token, hidden, expected;
  const auto map = [](const std::vector<float>& weight, const std::vector<float>& bias, const std::vector<double>& x) {
    std::vector<double> y(bias.begin(), bias.end());
    for (size_t i = 0; i < y.size(); ++i) {
      for (size_t j = 0; j < x.size(); ++j) y[i] += weight[i * x.size() + j] * x[j];
    }
    return y;
  };
  for (float value : values("cls_token")) token.push_back(value);
  hidden = map(values("cls_token_mlp.fc1.weight"), values("cls_token_mlp.fc1.bias"), token);
  for (double& value : hidden) value *= 0.5 * std::erfc(-value / std::sqrt(2.0));
  expected = map(values("cls_token_mlp.fc2.weight"), values("cls_token_mlp.fc2.bias"), hidden);
  const std::vector<float> folded = ReadAll(read->plan)->Find("cls_token")->Values<float>();
  for (size_t i = 0; i < folded.size(); ++i) EXPECT_FLOAT_EQ(folded[i], static_cast<float>(expected[i])) << i;
  VitRequest keep = With(2);
  keep.keep_token_mlp = true;
  const absl::StatusOr<StateDict> kept = ReadAll(ReadVitFile(path, keep)->plan);
  EXPECT_EQ(kept->Find("cls_token")->Values<float>(), values("cls_token"));
  EXPECT_EQ(kept->Find("cls_token_mlp.fc1.weight")->Values<float>(), values("cls_token_mlp.fc1.weight"));
}

TEST(VitFileTest, ValuesThatAreNotFiniteAreNamed) {
  const StateDict whole = Plain().Linear("head", 2, kWidth).tensors();
  for (const float value : {INFINITY, -INFINITY, NAN}) {
    StateDict file;
    for (const auto& [name, tensor] : whole) {
      std::vector<float> values = tensor.Values<float>();
      // A head plays no part.
      if (name == "blocks.1.mlp.fc2.weight" || name == "head.weight") values[7] = value;
      ASSERT_TRUE(file.Add(name, TensorView::FromFloats(tensor.shape, values)).ok());
    }
    EXPECT_THAT(Refusal(WriteOne("a.safetensors", file), With(2)),
                AllOf(HasSubstr("a.safetensors"), HasSubstr("blocks.1.mlp.fc2.weight has 1 of 64 values that are not"),
                      HasSubstr("at [0,7]"), Not(HasSubstr("head"))));
  }
}

std::string WriteConfig(const std::string& text) {
  EXPECT_TRUE(WriteFile(Path("config.json"), text).ok());
  return text;
}

TEST(VitFileTest, AConfigOfAnotherModelIsNamed) {
  Builder file;
  file.Add("embeddings.cls_token", {1, 1, kWidth}).Add("embeddings.position_embeddings", {1, 10, kWidth});
  file.Add("embeddings.patch_embeddings.projection.weight", {kWidth, 3, kPatch, kPatch});
  file.Add("embeddings.patch_embeddings.projection.bias", {kWidth});
  for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    file.Linear(absl::StrCat("layers.0.attention.", part), kWidth, kWidth);
  }
  file.Linear("layers.0.mlp.fc1", 16, kWidth).Linear("layers.0.mlp.fc2", kWidth, 16);
  file.Norm("layers.0.layernorm_before").Norm("layers.0.layernorm_after").Norm("layernorm");
  const std::string path = WriteOne("model.safetensors", file.tensors());
  WriteConfig(R"({"model_type": "vit", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
                  "intermediate_size": 16, "patch_size": 2, "image_size": 6, "num_channels": 3, "hidden_act": "gelu",
                  "layer_norm_eps": 1e-9})");
  const absl::StatusOr<VitFile> read = ReadVitFile(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->plan.traits.heads, 2);
  EXPECT_EQ(read->plan.traits.norm_epsilon, 1e-9);
  EXPECT_THAT(read->plan.traits.assumed, ElementsAre());
  EXPECT_THAT(Refusal(path, With(4)), AllOf(HasSubstr("--heads=4, but"), HasSubstr("config.json says 2")));
  WriteConfig(R"({"model_type": "clip_vision_model", "hidden_size": 4})");
  EXPECT_THAT(Refusal(path),
              AllOf(HasSubstr("config.json is of model_type \"clip_vision_model\""), HasSubstr("hf_vit")));
  WriteConfig(R"({"model_type": "vit", "hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14,
                  "num_attention_heads": 16})");
  EXPECT_THAT(Refusal(path), AllOf(HasSubstr("config.json is not of"), HasSubstr("width 1024 (the tensors have 4)"),
                                   HasSubstr("depth 24 (the tensors have 1)"), HasSubstr("patch size 14"),
                                   HasSubstr("16 heads (which do not divide the width 4)")));
  WriteConfig(R"({"model_type": "vit", "image_size": [4, 8]})");
  EXPECT_THAT(Refusal(path), HasSubstr("has 10 rows"));
}

// timm's own words are believed or refused, never passed over; of what is no config at all it is said.
TEST(VitFileTest, TimmsConfigIsNeverPassedOver) {
  const std::string path = WriteOne("model.safetensors", Plain().tensors());
  const auto config = [](const std::string& arguments) {
    WriteConfig(
        absl::StrCat(R"({"architecture": "vit_base_patch16_224", "num_features": 4, "model_args": {"num_heads": 2, )",
                     R"("img_size": 6, )", arguments, "}}"));
  };
  config(R"("mlp_ratio": 4, "qk_norm": false, "act_layer": "gelu", "class_token": true, "pre_norm": false, )"
         R"("qkv_bias": true, "init_values": null)");
  EXPECT_THAT(ReadVitFile(path)->description, HasSubstr("; agrees with "));
  for (const auto& [arguments, message] : std::vector<std::pair<const char*, const char*>>{
           {R"("act_layer": "relu")", "act_layer is \"relu\"; known are gelu"},
           {R"("qk_norm": true)", "qk_norm: norms of queries and keys are not supported"},
           {R"("mlp_ratio": 2)", "MLP width 8 (the tensors have 16)"},
           {R"("mlp_ratio": 1e300)", "mlp_ratio is 1e+300, no such number"},
           {R"("class_token": false)", "no class token (the tensors have one)"},
           {R"("pre_norm": true)", "norm before the blocks (the tensors have none)"},
           {R"("qkv_bias": false)", "no bias of queries, keys and values (the tensors have one)"},
           {R"("qkv_bias": 1)", "qkv_bias is 1, neither true nor false"},
           {R"("init_values": 1e-5)", "LayerScale (the tensors have none)"},
           {R"("embed_dim": "wide")", "embed_dim"}}) {
    config(arguments);
    EXPECT_THAT(Refusal(path, With(2)), AllOf(HasSubstr("config.json"), HasSubstr(message))) << arguments;
  }
  for (const char* text : {"{\"architecture\": \"vit_base", "[1, 2]", ""}) {
    WriteConfig(text);
    const absl::StatusOr<VitFile> read = ReadVitFile(path, With(2));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_THAT(read->description, AllOf(HasSubstr("is not looked at: "), HasSubstr("config.json"))) << text;
  }
}

TEST(VitFileTest, TimmsConfigTellsTheActivation) {
  const std::string path = WriteOne("model.safetensors", Plain().Norm("norm_pre").tensors());
  EXPECT_THAT(Refusal(path, With(2)), AllOf(HasSubstr("--family=timm_clip"), HasSubstr("--family=timm_open_clip")));
  EXPECT_EQ(ReadVitFile(path, With(2, "", "timm_clip"))->plan.traits.activation, Activation::kQuickGelu);
  const auto activation = [&](const std::string& text) {
    WriteConfig(text);
    const absl::StatusOr<VitFile> read = ReadVitFile(path);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? read->plan.traits.activation : Activation::kSwiGlu;
  };
  EXPECT_EQ(activation(R"({"architecture": "vit_base_patch16_clip_quickgelu_224", "num_features": 4,
                           "model_args": {"num_heads": 2, "img_size": 6}})"),
            Activation::kQuickGelu);
  EXPECT_EQ(
      activation(R"({"architecture": "vit_base_patch16_clip_224", "model_args": {"num_heads": 2, "img_size": 6}})"),
      Activation::kGelu);
  WriteConfig(R"({"architecture": "eva02_small_patch14_224"})");
  EXPECT_THAT(Refusal(path, With(2)), HasSubstr("config.json is of architecture \"eva02_small_patch14_224\""));
  // What the user says is not overridden.
  WriteConfig(R"({"architecture": "vit_base_patch16_clip_224", "model_args": {"num_heads": 2, "img_size": 6}})");
  EXPECT_THAT(Refusal(path, With(0, "", "timm_clip")),
              AllOf(HasSubstr("--family=timm_clip has QuickGELU, but"), HasSubstr("config.json says GELU")));
  WriteConfig(R"({"architecture": "vit_base_patch16_clip_224", "model_args": {"block_fn": "other"}})");
  EXPECT_THAT(Refusal(path, With(2, "", "timm_clip")),
              HasSubstr("model_args has block_fn, of which only the architecture's own"));
}

TEST(VitFileTest, TimmsConfigIsOfTheTensorsStructure) {
  const std::string plain = WriteOne("model.safetensors", Plain().tensors());
  const std::string moco = WriteOne("moco.safetensors", Plain("base_encoder.").tensors());
  for (const char* other : {"vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_siglip_224",
                            "vit_small_patch16_dinov3", "vit_small_patch16_rope_224", "vit_pe_core_base_patch16_224"}) {
    WriteConfig(absl::StrCat("{\"architecture\": \"", other, "\"}"));
    for (const std::string& path : {plain, moco}) {
      EXPECT_THAT(Refusal(path, With(2)), HasSubstr(absl::StrCat("config.json is of architecture \"", other)));
    }
  }
}

TEST(VitFileTest, OpenClipsConfigTellsTheActivation) {
  Builder file;
  file.Add("visual.class_embedding", {kWidth}).Add("visual.positional_embedding", {1 + kGrid * kGrid, kWidth});
  file.Add("visual.conv1.weight", {kWidth, 3, kPatch, kPatch}).Norm("visual.ln_pre").Norm("visual.ln_post");
  const std::string block = "visual.transformer.resblocks.0.";
  file.Add(block + "attn.in_proj_weight", {3 * kWidth, kWidth}).Add(block + "attn.in_proj_bias", {3 * kWidth});
  file.Linear(block + "attn.out_proj", kWidth, kWidth).Norm(block + "ln_1").Norm(block + "ln_2");
  file.Linear(block + "mlp.c_fc", 10, kWidth).Linear(block + "mlp.c_proj", kWidth, 10);
  const std::string path = WriteOne("open_clip_model.safetensors", file.tensors());
  const auto write = [](const std::string& model, const std::string& vision) {
    const std::string text =
        absl::StrCat("{\"model_cfg\": {", model,
                     "\"vision_cfg\": {\"layers\": 1, \"width\": 4, \"head_width\": 2, \"patch_size\": 2, "
                     "\"image_size\": 6, \"mlp_ratio\": 2.7",
                     vision, "}}}");
    EXPECT_TRUE(WriteFile(Path("open_clip_config.json"), text).ok());
  };
  EXPECT_THAT(Refusal(path, With(2)), AllOf(HasSubstr("--family=clip"), HasSubstr("--family=open_clip")));
  write("\"quick_gelu\": true, ", "");
  EXPECT_EQ(ReadVitFile(path)->plan.family, "clip");
  EXPECT_EQ(ReadVitFile(path)->plan.traits.heads, 2);
  EXPECT_THAT(Refusal(path, With(0, "", "open_clip")), HasSubstr("--family=open_clip has GELU, but"));
  write("", "");
  EXPECT_EQ(ReadVitFile(path)->plan.family, "open_clip");
  write("", ", \"act_kwargs\": {\"approximate\": \"tanh\"}");
  EXPECT_EQ(ReadVitFile(path)->plan.family, "open_clip");
  EXPECT_EQ(ReadVitFile(path)->plan.traits.activation, Activation::kGeluTanh);
  write("", ", \"layers\": 2");
  EXPECT_THAT(Refusal(path), AllOf(HasSubstr("open_clip_config.json"), HasSubstr("depth 2 (the tensors have 1)")));
}

TEST(VitFileTest, WhatWrapsTheBlocksIsNoPartOfTheirNames) {
  StateDict wrapped;
  const StateDict plain = Plain("_orig_mod.").tensors();
  for (const auto& [name, tensor] : plain) {
    std::string inner = name;
    if (const size_t block = name.find("blocks.1."); block != std::string::npos) {
      inner.insert(block + 9, "_checkpoint_wrapped_module._fsdp_wrapped_module.");
    }
    ASSERT_TRUE(wrapped.Add(inner, tensor).ok());
  }
  const absl::StatusOr<VitFile> file = ReadVitFile(WriteOne("a.safetensors", wrapped), With(2));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->plan.prefix, "_orig_mod.");
  EXPECT_EQ(file->plan.tensors.size(), 4 + 12 * kDepth + 2);
}

TEST(VitFileTest, ProductsThatAreNotFiniteAreNamed) {
  const StateDict whole = Plain().Add("blocks.0.ls1.gamma", {kWidth}).Add("blocks.1.ls1.gamma", {kWidth}).tensors();
  StateDict file;
  for (const auto& [name, tensor] : whole) {
    std::vector<float> values = tensor.Values<float>();
    if (name == "blocks.1.attn.proj.weight") values[5] = 3e38f;
    if (name == "blocks.1.ls1.gamma") values[1] = 100;
    ASSERT_TRUE(file.Add(name, TensorView::FromFloats(tensor.shape, values)).ok());
  }
  EXPECT_THAT(Refusal(WriteOne("a.safetensors", file), With(2)),
              HasSubstr("blocks.1.attn.proj.weight with blocks.1.ls1.gamma has 1 of 16 values that are not finite"));
}

TEST(VitFileTest, TokensWithoutRowsLeaveTwoReadings) {
  // 9 rows: 3 x 3 patches, or 2 x 3 with rows for [CLS] and two registers.
  const std::string path = WriteOne("a.safetensors", Plain("", 9).Add("reg_token", {1, 2, kWidth}).tensors());
  EXPECT_THAT(Refusal(path, With(2)), AllOf(HasSubstr("9 rows, which may be 3x3"), HasSubstr("--grid=3x3")));
  VitRequest told = With(2);
  told.grid_rows = told.grid_columns = 3;
  EXPECT_EQ(ReadVitFile(path, told)->plan.traits.grid, 3);
}

}  // namespace
}  // namespace tec
