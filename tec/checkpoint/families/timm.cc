// Plain ViTs under timm's names: timm itself, DeiT without distillation, the released encoders of MAE, DINO and MoCo's
// exports, iBOT's backbones, TEC's converted weights, finetuned models. With LayerScale, register tokens or a position
// table without [CLS] row, as newer timm models have. And timm's image towers of CLIP, with a norm before the blocks,
// whose activation leaves no trace in the tensors.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family TimmFamily() {
  Family family;
  family.name = "timm";
  family.what = "a plain ViT: timm, DeiT, released encoders of MAE and DINO, iBOT backbones, converted TEC weights";
  family.entries = {"model", "state_dict", "state_dict_ema", "model_ema"};
  family.marks = {"cls_token", "patch_embed.proj.weight", "blocks.#.attn.qkv.weight"};
  family.names = PlainNames();
  family.names.insert(family.names.end(), {{"reg_token", "reg_token"},
                                           {"blocks.#.ls1.gamma", "blocks.#.ls1.gamma"},
                                           {"blocks.#.ls2.gamma", "blocks.#.ls2.gamma"}});
  // timm's resample_abs_pos_embed. MAE and TEC do it plainly, but their encoders' files look the same.
  family.interpolation = PositionInterpolation::kAntialias;
  TakePlainArchitectures(&family);
  return family;
}

Family TimmClipFamily() {
  Family family = TimmFamily();
  family.name = "timm_clip";
  family.what = "CLIP's image tower as timm saves it, OpenAI's weights (QuickGELU)";
  family.marks.push_back("norm_pre.weight");
  family.names.push_back({"norm_pre.*", "norm_pre.*"});
  family.must_be_said = true;
  // Perception Encoders, which have rotary positions, have the same names.
  family.architecture_parts = {"clip"};
  family.other_architecture_parts = {};
  family.norm_epsilon = 1e-5;
  family.activation = Activation::kQuickGelu;
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

Family TimmOpenClipFamily() {
  Family family = TimmClipFamily();
  family.name = "timm_open_clip";
  family.what = "CLIP's image tower as timm saves it, OpenCLIP's weights (GELU)";
  family.activation = Activation::kGelu;
  return family;
}

}  // namespace tec
