// RADIO and C-RADIO under NVIDIA's own names, those of its hub's files (radio_model.model.*) and of its .pth.tar
// (base_model.*), and under those of Hugging Face's RadioModel. timm's files of them are plain ViTs (timm.cc).
// (NVlabs/RADIO: radio/vit_patch_generator.py, enable_cpe_support.py, input_conditioner.py.)
//
// What it has beside a ViT: several class tokens, one for each of its teachers, of which a model's "summary" is made,
// and registers; a table of positions for images of 2048 pixels; no norm after the last block, but for those made of
// DINOv2's giant model; and its pixels are normalised inside of the model.

#include "tec/checkpoint/families/family.h"

namespace tec {
namespace {

void SetTraits(Family* family) {
  family->model_types = {"radio"};
  family->no_norm = true;
  family->resampled_positions = true;
  family->published_size = 512;
  family->published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family->published_std = {0.26862954f, 0.26130258f, 0.27577711f};
}

}  // namespace

Family RadioFamily() {
  Family family;
  family.name = "radio";
  family.what = "RADIO and C-RADIO, NVIDIA's files (several class tokens, positions of any image size)";
  family.entries = {"state_dict_ema", "state_dict", "model"};
  family.marks = {"patch_generator.embedder.weight", "patch_generator.pos_embed", "patch_generator.cls_token.token",
                  "blocks.#.norm1.weight"};
  family.names = {{"patch_generator.embedder.*", "patch_embed.proj.*"},
                  {"patch_generator.pos_embed", "pos_embed"},
                  {"patch_generator.cls_token.token", kTokenRows},
                  {"norm.*", "norm.*"}};
  // LayerScale is called so because Hugging Face's loader changes names with "gamma" in them.
  for (const auto& [theirs, own] : {std::pair("norm1.*", "norm1.*"),
                                    {"attn.qkv.*", "attn.qkv.*"},
                                    {"attn.proj.*", "attn.proj.*"},
                                    {"ls1.grandma", "ls1.gamma"},
                                    {"ls1.gamma", "ls1.gamma"},
                                    {"norm2.*", "norm2.*"},
                                    {"mlp.fc1.*", "mlp.fc1.*"},
                                    {"mlp.norm.*", "mlp.norm.*"},
                                    {"mlp.fc2.*", "mlp.fc2.*"},
                                    {"mlp.w12.*", "mlp.fc1.*"},
                                    {"mlp.w3.*", "mlp.fc2.*"},
                                    // transformers writes NVIDIA's names, but for what that has not.
                                    {"layer_scale1.lambda1", "ls1.gamma"},
                                    {"layer_scale2.lambda1", "ls2.gamma"},
                                    {"mlp.gate_proj.*", "mlp.gate.*"},
                                    {"mlp.up_proj.*", "mlp.up.*"},
                                    {"mlp.down_proj.*", "mlp.fc2.*"},
                                    {"ls2.grandma", "ls2.gamma"},
                                    {"ls2.gamma", "ls2.gamma"}}) {
    family.names.push_back({std::string("blocks.#.") + theirs, std::string("blocks.#.") + own});
  }
  family.names_outside = {{"input_conditioner.norm_mean", kPixelMean},
                          {"input_conditioner.norm_std", kPixelStd},
                          {"summary_idxs", kSummaryRows}};
  // Of videos, of the teachers' heads, of distances between layers; and registers of the ViT that it was made from, in
  // whose place token rows have come.
  family.left_out = {"reg_token", "patch_generator.video_embedder.*", "adaptors.*", "inter_feature_normalizer.*"};
  const char spectral[] =
      "its weights are kept by their spectral norms, as in training: radio.enable_spectral_reparam's "
      "disable_spectral_reparam(model), or --entry=state_dict_ema where the file has it, gives plain ones";
  const char normalizer[] =
      "a model that normalises its patches' features, which is not read; one without feature_normalizer is";
  family.refused = {{"blocks.#.attn.qkv.parametrizations.*", spectral},
                    {"blocks.#.attn.proj.parametrizations.*", spectral},
                    {"blocks.#.mlp.fc1.parametrizations.*", spectral},
                    {"blocks.#.mlp.fc2.parametrizations.*", spectral},
                    {"blocks.#.mlp.w12.parametrizations.*", spectral},
                    {"blocks.#.mlp.w3.parametrizations.*", spectral},
                    {"feature_normalizer.*", normalizer},
                    {"_feature_normalizer.*", normalizer}};
  SetTraits(&family);
  return family;
}

Family HuggingFaceRadioFamily() {
  Family family;
  family.name = "hf_radio";
  family.what = "Hugging Face RadioModel";
  family.marks = {"embeddings.cls_register_token", "embeddings.patch_projection.weight",
                  "embeddings.position_embedding", "encoder.layer.#.norm1.weight"};
  family.names = {{"embeddings.patch_projection.*", "patch_embed.proj.*"},
                  {"embeddings.position_embedding", "pos_embed"},
                  {"embeddings.cls_register_token", kTokenRows},
                  {"input_conditioner.norm_mean", kPixelMean},
                  {"input_conditioner.norm_std", kPixelStd},
                  {"summary_idxs", kSummaryRows}};
  const std::vector<NameRule> names = HuggingFaceBlockNames("encoder.layer.#.");
  family.names.insert(family.names.end(), names.begin(), names.end());
  family.names.insert(family.names.end(), {{"encoder.layer.#.mlp.fc1.*", "blocks.#.mlp.fc1.*"},
                                           {"encoder.layer.#.mlp.fc2.*", "blocks.#.mlp.fc2.*"}});
  family.left_out = {"embeddings.video_patch_projection.*"};
  SetTraits(&family);
  return family;
}

}  // namespace tec
