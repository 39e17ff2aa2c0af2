// This project and the official TEC code: a pretraining checkpoint. (What weight_convert makes of it, and a finetuned
// model, are plain ViTs: timm.cc.)

#include "tec/checkpoint/families/family.h"

namespace tec {

Family TecFamily() {
  Family family;
  family.name = "tec";
  family.what = "TEC pretraining checkpoint (cls_token_mlp is folded into cls_token)";
  family.marks = {"cls_token", "patch_embed.proj.weight",
                  "cls_token_mlp.fc1.weight|encoder_adaptor.adap_before.weight"};
  family.names = PlainNames();
  family.names.push_back({"cls_token_mlp.*", "cls_token_mlp.*"});
  family.left_out = {"encoder_adaptor.*", "further_bases.*"};
  TakePlainArchitectures(&family);
  return family;
}

}  // namespace tec
