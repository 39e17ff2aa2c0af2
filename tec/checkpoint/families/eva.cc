// EVA-02, the Perception Encoder and RoPE-ViT as timm saves them, BEiT-3: rotary positions beside a table or without
// one, norms inside attention and MLP, norms after the sublayers. None of them is told by a tensor of its own, so that
// most of these families have to be said by a config.json or by the user.

#include "tec/checkpoint/families/family.h"

namespace tec {
namespace {

// timm's: neighbouring numbers of a head are turned.
RotaryTraits Rotary(double theta) {
  RotaryTraits rotary;
  rotary.theta = theta;
  rotary.interleaved = true;
  return rotary;
}

Family EvaNames() {
  Family family;
  family.entries = {"model", "module", "state_dict"};
  family.names = PlainNames();
  family.names.insert(family.names.end(), {{"blocks.#.attn.q_bias", "blocks.#.attn.q.bias"},
                                           {"blocks.#.attn.v_bias", "blocks.#.attn.v.bias"},
                                           {"blocks.#.attn.q_proj.*", "blocks.#.attn.q.*"},
                                           {"blocks.#.attn.k_proj.*", "blocks.#.attn.k.*"},
                                           {"blocks.#.attn.v_proj.*", "blocks.#.attn.v.*"},
                                           {"blocks.#.attn.norm.*", "blocks.#.attn.norm.*"},
                                           {"blocks.#.mlp.norm.*", "blocks.#.mlp.norm.*"},
                                           {"blocks.#.gamma_1", "blocks.#.ls1.gamma"},
                                           {"blocks.#.gamma_2", "blocks.#.ls2.gamma"}});
  family.interpolation = PositionInterpolation::kAntialias;
  return family;
}

}  // namespace

Family Eva02Family() {
  Family family = EvaNames();
  family.name = "eva02";
  family.what = "EVA-02, timm's files and BAAI's (rotary positions, SwiGLU)";
  family.marks = {"cls_token", "patch_embed.proj.weight", "pos_embed",
                  "blocks.#.attn.q_bias|blocks.#.attn.q_proj.bias"};
  family.absent = {"blocks.#.gamma_1"};
  family.must_be_said = true;
  family.architectures = {"eva02_tiny_*", "eva02_small_*", "eva02_base_*", "eva02_large_*"};
  // timm's names, and BAAI's.
  family.names.insert(family.names.end(), {{"blocks.#.mlp.fc1_g.*", "blocks.#.mlp.gate.*"},
                                           {"blocks.#.mlp.fc1_x.*", "blocks.#.mlp.up.*"},
                                           {"blocks.#.mlp.w1.*", "blocks.#.mlp.gate.*"},
                                           {"blocks.#.mlp.w2.*", "blocks.#.mlp.up.*"},
                                           {"blocks.#.mlp.w3.*", "blocks.#.mlp.fc2.*"},
                                           {"blocks.#.mlp.ffn_ln.*", "blocks.#.mlp.norm.*"},
                                           {"blocks.#.attn.inner_attn_ln.*", "blocks.#.attn.norm.*"}});
  family.left_out = {"rope.*", "blocks.#.attn.rope.*"};
  family.activation = Activation::kSwiGlu;
  family.rotary = Rotary(10000);
  family.rotary->span = 16;  // The grid of its pretraining, at any size.
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

Family Eva02EnormousFamily() {
  Family family = EvaNames();
  family.name = "eva02_enormous";
  family.what = "EVA-02's enormous CLIP as timm saves it (norms after the sublayers)";
  family.marks = {"cls_token", "patch_embed.proj.weight", "pos_embed", "blocks.#.attn.q_bias", "norm.weight"};
  family.absent = {"blocks.#.gamma_1"};
  family.must_be_said = true;
  family.architectures = {"eva02_enormous_*"};
  family.post_norm = true;
  family.published_heads = {{1792, 16}};
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

Family Beit3Family() {
  Family family = EvaNames();
  family.name = "beit3";
  family.what = "BEiT-3's image tower as timm saves it (norms inside attention and MLP)";
  family.marks = {"cls_token",
                  "patch_embed.proj.weight",
                  "blocks.#.attn.qkv.weight",
                  "blocks.#.attn.norm.weight",
                  "blocks.#.mlp.fc1.weight",
                  "blocks.#.mlp.norm.weight"};
  family.architectures = {"beit3_*"};
  family.norm_epsilon = 1e-5;
  return family;
}

Family TimmPeFamily() {
  Family family = EvaNames();
  family.name = "timm_pe";
  family.what = "Perception Encoder as timm saves it (rotary positions)";
  family.marks = {"cls_token", "patch_embed.proj.weight", "pos_embed", "norm_pre.weight", "blocks.#.attn.qkv.bias"};
  family.names.push_back({"norm_pre.*", "norm_pre.*"});
  family.must_be_said = true;
  family.architectures = {"vit_pe_*"};
  family.norm_epsilon = 1e-5;
  family.rotary = Rotary(10000);
  family.rotary->columns_first = true;
  family.rotary->shift = 1;
  family.rotary->span_of_table = true;
  family.published_mean = family.published_std = {0.5f, 0.5f, 0.5f};
  return family;
}

Family TimmPeGiganticFamily() {
  Family family = TimmPeFamily();
  family.name = "timm_pe_gigantic";
  family.what = "the gigantic Perception Encoder as timm saves it (no [CLS]; its pool has heads of its own, left out)";
  family.marks.erase(family.marks.begin());
  family.absent = {"cls_token"};
  family.class_token = false;
  family.published_heads = {{1536, 16}};
  family.rotary->shift = 0;
  return family;
}

Family TimmRopeFamily() {
  Family family = EvaNames();
  family.name = "timm_rope";
  family.what = "RoPE-ViT with axial rotary positions as timm saves it";
  family.marks = {"cls_token", "patch_embed.proj.weight", "blocks.#.gamma_1", "blocks.#.attn.qkv.bias"};
  family.absent = {"reg_token", "norm_pre.weight"};
  family.must_be_said = true;
  family.architectures = {"vit_small_patch16_rope_*", "vit_base_patch16_rope_*", "vit_large_patch16_rope_*"};
  family.published_size = 224;
  family.rotary = Rotary(100);
  family.rotary->columns_first = true;
  return family;
}

Family TimmRopeNoClassFamily() {
  Family family = EvaNames();
  family.name = "timm_rope_no_class";
  family.what = "timm's ViTs with rotary positions and without [CLS] (vit_*_rope_reg*)";
  family.marks = {"patch_embed.proj.weight", "reg_token", "blocks.#.gamma_1"};
  family.names.push_back({"reg_token", "reg_token"});
  family.absent = {"cls_token", "pos_embed"};
  family.must_be_said = true;
  family.architectures = {"vit_*"};
  family.architecture_parts = {"_rope_reg"};
  family.class_token = false;
  family.published_size = 256;
  family.rotary = Rotary(10000);
  family.rotary->span = 16;
  return family;
}

}  // namespace tec
