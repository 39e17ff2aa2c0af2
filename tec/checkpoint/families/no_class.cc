// Plain ViTs without [CLS] token under timm's names: SigLIP and SigLIP 2, ViTs of the mean, I-JEPA's own files, AIMv2.
// SigLIP's pool by a learned token, where the file has it, gives what stands in the place of [CLS].

#include "tec/checkpoint/families/family.h"

namespace tec {
namespace {

Family NoClass() {
  Family family;
  family.entries = {"model", "state_dict", "state_dict_ema", "model_ema"};
  family.marks = {"patch_embed.proj.weight", "pos_embed", "blocks.#.attn.qkv.weight"};
  family.absent = {"cls_token", "norm_pre.weight", "patch_embed.norm.weight"};
  family.names = PlainNames();
  family.names.insert(family.names.end(), {{"reg_token", "reg_token"},
                                           {"blocks.#.ls1.gamma", "blocks.#.ls1.gamma"},
                                           {"blocks.#.ls2.gamma", "blocks.#.ls2.gamma"},
                                           {"attn_pool.*", "attn_pool.*"}});
  family.class_token = false;
  family.interpolation = PositionInterpolation::kAntialias;
  return family;
}

}  // namespace

Family TimmSiglipFamily() {
  Family family = NoClass();
  family.name = "timm_siglip";
  family.what = "SigLIP and SigLIP 2 as timm saves them, where it has them with GELU by tanh";
  family.must_be_said = true;
  family.architectures = {"vit_*"};
  family.architecture_parts = {"siglip"};
  family.activation = Activation::kGeluTanh;
  family.published_heads = {{768, 12}, {1024, 16}, {1152, 16}, {1536, 16}};
  family.published_mean = family.published_std = {0.5f, 0.5f, 0.5f};
  return family;
}

Family TimmNoClassFamily() {
  Family family = NoClass();
  family.name = "timm_no_class";
  family.what = "ViTs without [CLS] as timm saves them, SigLIP's that it has with exact GELU among them";
  family.must_be_said = true;
  family.architectures = {"vit_*", "test_vit*"};
  // Their norms stand after the sublayers; its pool looks at the registers too. Neither leaves a trace. The others have
  // names of their own.
  family.other_architecture_parts = {"_rpn_", "test_vit3", "_clip_", "relpos", "_rope", "vit_pe", "dinov3", "lingbot"};
  // SigLIP's has 12, vit_base_patch16_gap_224 has 16.
  family.published_heads = {{768, 0}};
  return family;
}

Family IjepaFamily() {
  Family family = NoClass();
  family.name = "ijepa";
  family.what = "I-JEPA, Meta's files: the target encoder";
  family.entries = {"target_encoder", "model", "state_dict"};
  family.must_be_said = true;
  // timm's of it is timm_no_class.
  family.architectures = {"ijepa*"};
  family.interpolation = PositionInterpolation::kPlain;
  return family;
}

Family TimmAimv2Family() {
  Family family;
  family.name = "timm_aimv2";
  family.what = "AIMv2 as timm saves it (norms by the root mean square, SwiGLU, no [CLS])";
  family.entries = {"model", "state_dict"};
  family.marks = {"patch_embed.proj.weight", "pos_embed", "patch_embed.norm.weight", "blocks.#.mlp.fc1_g.weight"};
  family.absent = {"cls_token", "blocks.#.norm1.bias"};
  family.names = PlainNames();
  family.names.insert(family.names.end(), {{"patch_embed.norm.weight", "patch_norm.weight"},
                                           {"blocks.#.mlp.fc1_g.*", "blocks.#.mlp.gate.*"},
                                           {"blocks.#.mlp.fc1_x.*", "blocks.#.mlp.up.*"}});
  family.architectures = {"aimv2_*"};
  family.class_token = false;
  family.rms_norm = true;
  family.norm_epsilon = 1e-5;
  family.published_heads = {{1024, 8}, {1536, 12}, {2048, 16}, {3072, 24}};
  family.interpolation = PositionInterpolation::kAntialias;
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

}  // namespace tec
