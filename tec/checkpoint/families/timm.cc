// Plain ViTs under timm's names: timm itself, DeiT without distillation, the released encoders of MAE, DINO and MoCo's
// exports, iBOT's backbones, TEC's converted weights, finetuned models. With LayerScale, register tokens, a norm before
// the blocks or a position table without [CLS] row, as newer timm models have.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family TimmFamily() {
  Family family;
  family.name = "timm";
  family.what = "a plain ViT: timm, DeiT, released encoders of MAE and DINO, iBOT backbones, converted TEC weights";
  family.entries = {"model", "state_dict", "state_dict_ema", "model_ema"};
  family.prefixes = {"module.", "_orig_mod.", ""};
  family.marks = {"cls_token", "patch_embed.proj.weight", "blocks.#.attn.qkv.weight"};
  family.names = PlainNames();
  family.names.insert(family.names.end(), {{"reg_token", "reg_token"},
                                           {"norm_pre.*", "norm_pre.*"},
                                           {"blocks.#.ls1.gamma", "blocks.#.ls1.gamma"},
                                           {"blocks.#.ls2.gamma", "blocks.#.ls2.gamma"}});
  family.left_out = {"head.*", "fc_norm.*"};
  // timm's resample_abs_pos_embed. MAE and TEC do it plainly, but their encoders' files look the same.
  family.interpolation = PositionInterpolation::kAntialias;
  return family;
}

}  // namespace tec
