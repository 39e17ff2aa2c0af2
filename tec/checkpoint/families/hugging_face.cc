// Hugging Face transformers: ViTModel, ViTMAE, DINOv2, BEiT, CLIP, SigLIP, I-JEPA, AIMv2. (DINOv3: dinov3.cc.) Two
// generations of names: until version 4, and the shorter ones of version 5.

#include "tec/checkpoint/families/family.h"

namespace tec {
namespace {

// Names inside a block, `from` being what the block is called.
void AddBlock(const std::string& from, std::vector<NameRule>* names) {
  const auto add = [&](const char* part, const char* own) {
    names->push_back({from + part, std::string("blocks.#.") + own});
  };
  for (const char* attention : {"attention.attention.", "attention."}) {
    for (const auto& [theirs, own] : {std::pair("query", "q"), {"key", "k"}, {"value", "v"}}) {
      add((std::string(attention) + theirs + ".*").c_str(), (std::string("attn.") + own + ".*").c_str());
    }
  }
  add("attention.q_proj.*", "attn.q.*");
  add("attention.k_proj.*", "attn.k.*");
  add("attention.v_proj.*", "attn.v.*");
  add("attention.output.dense.*", "attn.proj.*");
  add("attention.o_proj.*", "attn.proj.*");
  add("layernorm_before.*", "norm1.*");
  add("layernorm_after.*", "norm2.*");
  add("norm1.*", "norm1.*");
  add("norm2.*", "norm2.*");
  add("intermediate.dense.*", "mlp.fc1.*");
  add("output.dense.*", "mlp.fc2.*");
  add("mlp.fc1.*", "mlp.fc1.*");
  add("mlp.fc2.*", "mlp.fc2.*");
}

Family Base() {
  Family family;
  family.names = {{"embeddings.cls_token", "cls_token"},
                  {"embeddings.position_embeddings", "pos_embed"},
                  {"embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"},
                  {"layernorm.*", "norm.*"}};
  AddBlock("encoder.layer.#.", &family.names);
  AddBlock("layers.#.", &family.names);
  family.left_out = {"embeddings.mask_token"};
  return family;
}

}  // namespace

Family HuggingFaceVitFamily() {
  Family family = Base();
  family.name = "hf_vit";
  family.what = "Hugging Face ViTModel";
  family.model_types = {"vit", "vit_mae", "vit_msn"};
  family.marks = {"embeddings.cls_token", "embeddings.position_embeddings",
                  "encoder.layer.#.layernorm_before.weight|layers.#.layernorm_before.weight", "layernorm.weight"};
  family.norm_epsilon = 1e-12;
  // transformers 5 writes ViTMSNForImageClassification so: the blocks beside "vit.", the embeddings in it.
  AddBlock("encoder.layer.#.", &family.names_outside);
  family.names_outside.push_back({"layernorm.*", "norm.*"});
  return family;
}

Family HuggingFaceMaeFamily() {
  Family family = HuggingFaceVitFamily();
  family.name = "hf_mae";
  family.what = "Hugging Face ViTMAE (decoder left out)";
  family.marks.push_back("decoder.decoder_embed.weight");
  family.model_types = {"vit_mae"};
  return family;
}

Family HuggingFaceDeitFamily() {
  Family family = Base();
  family.name = "hf_deit";
  family.what = "Hugging Face DeiT, distilled (the distillation token takes part, its outputs are no targets)";
  family.model_types = {"deit"};
  family.marks = {"embeddings.cls_token", "embeddings.position_embeddings", "embeddings.distillation_token"};
  family.names.push_back({"embeddings.distillation_token", "dist_token"});
  family.norm_epsilon = 1e-12;
  return family;
}

Family HuggingFaceDinov2Family() {
  Family family = Base();
  family.name = "hf_dinov2";
  family.what = "Hugging Face Dinov2Model, with register tokens or without";
  family.model_types = {"dinov2", "dinov2_with_registers"};
  family.marks = {"embeddings.cls_token", "embeddings.position_embeddings", "encoder.layer.#.layer_scale1.lambda1"};
  family.names.insert(family.names.end(), {{"embeddings.register_tokens", "reg_token"},
                                           {"encoder.layer.#.layer_scale1.lambda1", "blocks.#.ls1.gamma"},
                                           {"encoder.layer.#.layer_scale2.lambda1", "blocks.#.ls2.gamma"},
                                           {"encoder.layer.#.mlp.weights_in.*", "blocks.#.mlp.fc1.*"},
                                           {"encoder.layer.#.mlp.weights_out.*", "blocks.#.mlp.fc2.*"},
                                           {"encoder.layer.#.mlp.gate_proj.*", "blocks.#.mlp.gate.*"},
                                           {"encoder.layer.#.mlp.up_proj.*", "blocks.#.mlp.up.*"},
                                           {"encoder.layer.#.mlp.down_proj.*", "blocks.#.mlp.fc2.*"}});
  family.interpolates_positions = true;
  // Dinov2Model by size alone, Dinov2WithRegistersModel with antialiasing.
  family.interpolation_with_registers = PositionInterpolation::kAntialias;
  return family;
}

Family HuggingFaceBeitFamily() {
  Family family = Base();
  family.name = "hf_beit";
  family.what = "Hugging Face BEiT and data2vec-vision";
  family.model_types = {"beit", "data2vec-vision"};
  family.marks = {"embeddings.cls_token", "encoder.layer.#.lambda_1|layers.#.lambda_1"};
  const std::string table = "relative_position_bias_table", own = "blocks.#.attn.relative_position_bias_table";
  family.names.insert(family.names.end(), {{"encoder.layer.#.lambda_1", "blocks.#.ls1.gamma"},
                                           {"encoder.layer.#.lambda_2", "blocks.#.ls2.gamma"},
                                           {"layers.#.lambda_1", "blocks.#.ls1.gamma"},
                                           {"layers.#.lambda_2", "blocks.#.ls2.gamma"},
                                           {"encoder.layer.#.attention.attention.relative_position_bias." + table, own},
                                           {"layers.#.relative_position_bias." + table, own},
                                           {"encoder.relative_position_bias." + table, "rel_pos_bias." + table},
                                           {"shared_position_bias." + table, "rel_pos_bias." + table}});
  // Of BeitForMaskedImageModeling.
  family.names_outside = {{"layernorm.*", "norm.*"}};
  family.left_out.insert(family.left_out.end(),
                         {"encoder.layer.#.attention.attention.relative_position_bias.relative_position_index",
                          "encoder.relative_position_bias.relative_position_index"});
  family.norm_epsilon = 1e-12;
  return family;
}

Family HuggingFaceClipFamily() {
  Family family;
  family.name = "hf_clip";
  family.what = "Hugging Face CLIP, image tower, OpenAI's weights (QuickGELU)";
  family.model_types = {"clip", "clip_vision_model"};
  family.marks = {"embeddings.class_embedding", "pre_layrnorm.weight"};
  family.names = {{"embeddings.class_embedding", "cls_token"},
                  {"embeddings.position_embedding.weight", "pos_embed"},
                  {"embeddings.patch_embedding.*", "patch_embed.proj.*"},
                  // The misspelling is theirs.
                  {"pre_layrnorm.*", "norm_pre.*"},
                  {"post_layernorm.*", "norm.*"},
                  {"encoder.layers.#.self_attn.q_proj.*", "blocks.#.attn.q.*"},
                  {"encoder.layers.#.self_attn.k_proj.*", "blocks.#.attn.k.*"},
                  {"encoder.layers.#.self_attn.v_proj.*", "blocks.#.attn.v.*"},
                  {"encoder.layers.#.self_attn.out_proj.*", "blocks.#.attn.proj.*"},
                  {"encoder.layers.#.layer_norm1.*", "blocks.#.norm1.*"},
                  {"encoder.layers.#.layer_norm2.*", "blocks.#.norm2.*"},
                  {"encoder.layers.#.mlp.fc1.*", "blocks.#.mlp.fc1.*"},
                  {"encoder.layers.#.mlp.fc2.*", "blocks.#.mlp.fc2.*"}};
  family.left_out = {"visual_projection.*", "embeddings.position_ids"};
  family.must_be_said = true;
  family.norm_epsilon = 1e-5;
  family.activation = Activation::kQuickGelu;
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

Family HuggingFaceOpenClipFamily() {
  Family family = HuggingFaceClipFamily();
  family.name = "hf_open_clip";
  family.what = "Hugging Face CLIP, image tower, OpenCLIP's weights (GELU)";
  family.activation = Activation::kGelu;
  return family;
}

Family HuggingFaceSiglipFamily() {
  Family family;
  family.name = "hf_siglip";
  family.what = "Hugging Face SigLIP and SigLIP 2 of fixed sizes, image tower";
  family.model_types = {"siglip", "siglip_vision_model"};
  family.marks = {"embeddings.patch_embedding.weight", "embeddings.position_embedding.weight",
                  "encoder.layers.#.layer_norm1.weight", "post_layernorm.weight"};
  family.absent = {"embeddings.class_embedding"};
  family.names = {{"embeddings.position_embedding.weight", "pos_embed"},
                  {"embeddings.patch_embedding.*", "patch_embed.proj.*"},
                  {"post_layernorm.*", "norm.*"},
                  {"encoder.layers.#.self_attn.q_proj.*", "blocks.#.attn.q.*"},
                  {"encoder.layers.#.self_attn.k_proj.*", "blocks.#.attn.k.*"},
                  {"encoder.layers.#.self_attn.v_proj.*", "blocks.#.attn.v.*"},
                  {"encoder.layers.#.self_attn.out_proj.*", "blocks.#.attn.proj.*"},
                  {"encoder.layers.#.layer_norm1.*", "blocks.#.norm1.*"},
                  {"encoder.layers.#.layer_norm2.*", "blocks.#.norm2.*"},
                  {"encoder.layers.#.mlp.fc1.*", "blocks.#.mlp.fc1.*"},
                  {"encoder.layers.#.mlp.fc2.*", "blocks.#.mlp.fc2.*"},
                  {"head.probe", "attn_pool.latent"},
                  {"head.attention.in_proj_weight", "attn_pool.qkv.weight"},
                  {"head.attention.in_proj_bias", "attn_pool.qkv.bias"},
                  {"head.attention.out_proj.*", "attn_pool.proj.*"},
                  {"head.layernorm.*", "attn_pool.norm.*"},
                  {"head.mlp.*", "attn_pool.mlp.*"}};
  family.left_out = {"embeddings.position_ids"};
  family.class_token = false;
  family.activation = Activation::kGeluTanh;
  family.published_heads = {{768, 12}, {1024, 16}, {1152, 16}, {1536, 16}};
  family.published_mean = family.published_std = {0.5f, 0.5f, 0.5f};
  return family;
}

Family HuggingFaceIjepaFamily() {
  Family family = Base();
  family.name = "hf_ijepa";
  family.what = "Hugging Face IJepaModel";
  family.model_types = {"ijepa"};
  family.marks = {"embeddings.patch_embeddings.projection.weight", "embeddings.position_embeddings",
                  "encoder.layer.#.layernorm_before.weight|layers.#.layernorm_before.weight", "layernorm.weight"};
  family.absent = {"embeddings.cls_token"};
  family.class_token = false;
  return family;
}

Family HuggingFaceAimv2Family() {
  Family family;
  family.name = "hf_aimv2";
  family.what = "Hugging Face AIMv2, image tower";
  family.model_types = {"aimv2", "aimv2_vision_model"};
  family.marks = {"embeddings.patch_embed.weight", "embeddings.rms_norm.weight", "embeddings.position_embedding.weight",
                  "encoder.layers.#.rms_norm1.weight"};
  family.names = {{"embeddings.position_embedding.weight", "pos_embed"},
                  {"embeddings.patch_embed.*", "patch_embed.proj.*"},
                  {"embeddings.rms_norm.weight", "patch_norm.weight"},
                  {"rms_norm.weight", "norm.weight"},
                  {"encoder.layers.#.rms_norm1.weight", "blocks.#.norm1.weight"},
                  {"encoder.layers.#.rms_norm2.weight", "blocks.#.norm2.weight"},
                  {"encoder.layers.#.attention.q_proj.*", "blocks.#.attn.q.*"},
                  {"encoder.layers.#.attention.k_proj.*", "blocks.#.attn.k.*"},
                  {"encoder.layers.#.attention.v_proj.*", "blocks.#.attn.v.*"},
                  {"encoder.layers.#.attention.out_proj.*", "blocks.#.attn.proj.*"},
                  {"encoder.layers.#.ffn.gate_proj.*", "blocks.#.mlp.gate.*"},
                  {"encoder.layers.#.ffn.up_proj.*", "blocks.#.mlp.up.*"},
                  {"encoder.layers.#.ffn.down_proj.*", "blocks.#.mlp.fc2.*"}};
  family.class_token = false;
  family.rms_norm = true;
  family.norm_epsilon = 1e-5;
  family.published_heads = {{1024, 8}, {1536, 12}, {2048, 16}, {3072, 24}};
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

}  // namespace tec
