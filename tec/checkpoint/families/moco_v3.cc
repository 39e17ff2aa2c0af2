// facebookresearch/moco-v3: the base encoder of a training checkpoint. Its sin-cos table, in another order than MAE's,
// is in the file.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family MocoV3Family() {
  Family family;
  family.name = "moco_v3";
  family.what = "MoCo v3: the base encoder of a training checkpoint";
  family.entries = {"state_dict", "model"};
  family.prefixes = {"module.base_encoder.", "base_encoder."};
  family.marks = {"cls_token", "pos_embed", "patch_embed.proj.weight"};
  family.names = PlainNames();
  family.left_out = {"head.*", "module.momentum_encoder.*", "module.predictor.*", "momentum_encoder.*", "predictor.*"};
  return family;
}

}  // namespace tec
