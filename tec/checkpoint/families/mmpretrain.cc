// open-mmlab/mmpretrain (mmcls before it): VisionTransformer, and what its MAE, MoCo v3 and DeiT III train.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family MmpretrainFamily() {
  Family family;
  family.name = "mmpretrain";
  family.what = "mmpretrain's and mmcls' VisionTransformer";
  family.entries = {"state_dict", "model", "backbone"};
  family.marks = {"cls_token", "pos_embed", "patch_embed.projection.weight", "layers.#.ln1.weight"};
  family.names = {{"cls_token", "cls_token"},
                  {"pos_embed", "pos_embed"},
                  {"patch_embed.projection.*", "patch_embed.proj.*"},
                  {"ln1.*", "norm.*"},
                  {"layers.#.ln1.*", "blocks.#.norm1.*"},
                  {"layers.#.attn.qkv.*", "blocks.#.attn.qkv.*"},
                  {"layers.#.attn.proj.*", "blocks.#.attn.proj.*"},
                  {"layers.#.attn.gamma1.weight", "blocks.#.ls1.gamma"},
                  {"layers.#.ln2.*", "blocks.#.norm2.*"},
                  {"layers.#.ffn.layers.0.0.*", "blocks.#.mlp.fc1.*"},
                  {"layers.#.ffn.layers.1.*", "blocks.#.mlp.fc2.*"},
                  {"layers.#.ffn.gamma2.weight", "blocks.#.ls2.gamma"}};
  TakePlainArchitectures(&family);
  return family;
}

}  // namespace tec
