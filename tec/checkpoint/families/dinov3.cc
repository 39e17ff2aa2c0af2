// facebookresearch/dinov3: the hub's files and the teachers of its training, EUPE's and other releases of the same
// architecture; and timm's models of them. Positions are rotary alone; storage tokens; LayerScale; a mask that takes
// the bias of the keys away, in later files no such bias at all; the larger models' MLPs are gated.

#include <cmath>

#include "tec/checkpoint/families/family.h"

namespace tec {
namespace {

// What is the same under all names.
void SetTraits(Family* family) {
  family->norm_epsilon = 1e-5;
  // Centres of the patches, the image being [-1, 1]; periods from 1 to 100.
  family->rotary = RotaryTraits();
  family->rotary->shift = 0.5;
  family->rotary->span = 2;
  family->rotary->origin = -1;
  family->rotary->theta = 100;
  family->rotary->scale = 2 * M_PI;
  family->published_size = 224;
  family->published_heads = {{192, 3}, {384, 6}, {768, 12}, {1024, 16}, {1280, 20}, {1536, 24}, {4096, 32}};
}

}  // namespace

Family Dinov3Family() {
  Family family;
  family.name = "dinov3";
  family.what = "DINOv3 and EUPE, Meta's files (rotary positions, storage tokens, SwiGLU)";
  family.entries = {"teacher", "model", "state_dict", "backbone"};
  family.marks = {"cls_token", "patch_embed.proj.weight", "storage_tokens|rope_embed.periods"};
  family.names = PlainNamesWithoutPositions();
  family.names.insert(family.names.end(), {{"storage_tokens", "reg_token"},
                                           {"rope_embed.periods", "rotary.periods"},
                                           {"blocks.#.ls1.gamma", "blocks.#.ls1.gamma"},
                                           {"blocks.#.ls2.gamma", "blocks.#.ls2.gamma"},
                                           {"blocks.#.mlp.w1.*", "blocks.#.mlp.gate.*"},
                                           {"blocks.#.mlp.w2.*", "blocks.#.mlp.up.*"},
                                           {"blocks.#.mlp.w3.*", "blocks.#.mlp.fc2.*"}});
  family.architectures = {"vit_*"};
  family.architecture_parts = {"dinov3", "lingbot"};
  // Of the crops of training.
  family.left_out = {"local_cls_norm.*"};
  SetTraits(&family);
  return family;
}

Family TimmDinov3Family() {
  Family family;
  family.name = "timm_dinov3";
  family.what = "DINOv3, EUPE and LingBot-Vision as timm saves them";
  family.entries = {"model", "state_dict", "state_dict_ema", "model_ema"};
  family.marks = {"cls_token", "patch_embed.proj.weight", "reg_token", "blocks.#.gamma_1"};
  family.absent = {"pos_embed"};
  family.names = PlainNamesWithoutPositions();
  family.names.insert(family.names.end(), {{"reg_token", "reg_token"},
                                           {"blocks.#.attn.q_bias", "blocks.#.attn.q.bias"},
                                           {"blocks.#.attn.v_bias", "blocks.#.attn.v.bias"},
                                           {"blocks.#.gamma_1", "blocks.#.ls1.gamma"},
                                           {"blocks.#.gamma_2", "blocks.#.ls2.gamma"},
                                           {"blocks.#.mlp.fc1_g.*", "blocks.#.mlp.gate.*"},
                                           {"blocks.#.mlp.fc1_x.*", "blocks.#.mlp.up.*"}});
  family.architectures = {"vit_*"};
  family.architecture_parts = {"dinov3", "lingbot"};
  SetTraits(&family);
  return family;
}

Family HuggingFaceDinov3Family() {
  Family family;
  family.name = "hf_dinov3";
  family.what = "Hugging Face DINOv3ViTModel";
  family.model_types = {"dinov3_vit"};
  // Without mask token and registers, which may be absent, these are names of that class alone.
  family.marks = {"embeddings.cls_token", "embeddings.patch_embeddings.weight",
                  "layer.#.layer_scale1.lambda1|model.layer.#.layer_scale1.lambda1"};
  family.names = {{"embeddings.cls_token", "cls_token"},
                  {"embeddings.register_tokens", "reg_token"},
                  {"embeddings.patch_embeddings.*", "patch_embed.proj.*"},
                  {"norm.*", "norm.*"}};
  for (const char* block : {"layer.#.", "model.layer.#."}) {
    const std::vector<NameRule> names = HuggingFaceBlockNames(block);
    family.names.insert(family.names.end(), names.begin(), names.end());
  }
  family.left_out = {"embeddings.mask_token"};
  SetTraits(&family);
  return family;
}

}  // namespace tec
