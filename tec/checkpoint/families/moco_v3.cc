// facebookresearch/moco-v3: the base encoder of a training checkpoint. Its sin-cos table, in another order than MAE's,
// is in the file.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family MocoV3Family() {
  Family family;
  family.name = "moco_v3";
  family.what = "MoCo v3: the base encoder of a training checkpoint";
  family.entries = {"state_dict", "model", "base_encoder"};
  family.under = {"base_encoder", "momentum_encoder"};
  family.marks = {"cls_token", "pos_embed", "patch_embed.proj.weight"};
  family.names = PlainNames();
  // vits.py: vit_small has twelve heads of 32, not the usual six.
  family.published_heads = {{384, 12}, {768, 12}};
  TakePlainArchitectures(&family);
  return family;
}

}  // namespace tec
