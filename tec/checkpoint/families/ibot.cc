// bytedance/ibot: full checkpoints (student and teacher), and the extracted backbone (`state_dict`).
//
// The TEC code takes the student of a full file, cutting 16 characters off every name, which is "module.backbone.";
// so does `ibot`. The teacher has to be asked for.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family IbotFamily() {
  Family family;
  family.name = "ibot";
  family.what = "iBOT: the student of a full checkpoint (as TEC's code does), or an extracted backbone";
  family.entries = {"student", "state_dict"};
  family.marks = {"cls_token", "patch_embed.proj.weight", "masked_embed"};
  family.names = PlainNames();
  family.left_out = {"masked_embed"};
  // Its vision_transformer.py scales by (grid + 0.1) / old grid.
  family.interpolation = PositionInterpolation::kOffset;
  TakePlainArchitectures(&family);
  return family;
}

Family IbotTeacherFamily() {
  Family family = IbotFamily();
  family.name = "ibot_teacher";
  family.what = "iBOT: the teacher of a full checkpoint";
  family.entries = {"teacher"};
  return family;
}

}  // namespace tec
