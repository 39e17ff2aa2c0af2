// facebookresearch/mae and this project's own MAE, with decoder. (The released encoders are plain ViTs: timm.cc.)

#include "tec/checkpoint/families/family.h"

namespace tec {

Family MaeFamily() {
  Family family;
  family.name = "mae";
  family.what = "MAE, full (decoder left out) or encoder";
  family.marks = {"cls_token", "patch_embed.proj.weight", "decoder_embed.weight"};
  family.names = PlainNames();
  TakePlainArchitectures(&family);
  return family;
}

}  // namespace tec
