// facebookresearch/dino: full checkpoints (student and teacher). (The released backbones are plain ViTs: timm.cc.)

#include "tec/checkpoint/families/family.h"

namespace tec {

Family DinoFamily() {
  Family family;
  family.name = "dino";
  family.what = "DINO: the student of a full checkpoint (as TEC's code does), or a released backbone";
  family.entries = {"student", "state_dict"};
  // The released backbones have no head; they are found as plain ViTs.
  family.marks = {"cls_token", "patch_embed.proj.weight", "head.last_layer.weight_v|head.last_layer.weight"};
  family.names = PlainNames();
  // Its vision_transformer.py scales by (grid + 0.1) / old grid.
  family.interpolation = PositionInterpolation::kOffset;
  TakePlainArchitectures(&family);
  return family;
}

Family DinoTeacherFamily() {
  Family family = DinoFamily();
  family.name = "dino_teacher";
  family.what = "DINO: the teacher of a full checkpoint";
  family.entries = {"teacher"};
  return family;
}

}  // namespace tec
