// facebookresearch/deit's distilled models, and timm's of them: a second token, with a position of its own.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family DeitFamily() {
  Family family;
  family.name = "deit";
  family.what = "DeiT, distilled (the distillation token takes part, its outputs are no targets) or not";
  family.marks = {"cls_token", "pos_embed", "patch_embed.proj.weight", "dist_token"};
  family.names = PlainNames();
  family.names.push_back({"dist_token", "dist_token"});
  TakePlainArchitectures(&family);
  return family;
}

}  // namespace tec
