// microsoft/unilm's BEiT and BEiT v2, and timm's models of them: a relative position bias, one table for all blocks or
// one each; no bias for keys; LayerScale; in the released files no position table.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family BeitFamily() {
  Family family;
  family.name = "beit";
  family.what = "BEiT and BEiT v2 (relative position bias, LayerScale), also as timm saves them";
  family.entries = {"model", "module", "state_dict"};
  family.marks = {"cls_token", "patch_embed.proj.weight", "blocks.#.attn.q_bias",
                  "blocks.#.attn.relative_position_bias_table|rel_pos_bias.relative_position_bias_table"};
  family.architectures = {"beit*"};
  family.names = PlainNames();
  family.names.insert(family.names.end(),
                      {{"blocks.#.attn.q_bias", "blocks.#.attn.q.bias"},
                       {"blocks.#.attn.v_bias", "blocks.#.attn.v.bias"},
                       {"blocks.#.gamma_1", "blocks.#.ls1.gamma"},
                       {"blocks.#.gamma_2", "blocks.#.ls2.gamma"},
                       {"blocks.#.attn.relative_position_bias_table", "blocks.#.attn.relative_position_bias_table"},
                       {"rel_pos_bias.relative_position_bias_table", "rel_pos_bias.relative_position_bias_table"}});
  family.left_out = {"cls_pt_layers.*", "blocks.#.attn.relative_position_index",
                     "rel_pos_bias.relative_position_index"};
  return family;
}

Family EvaFamily() {
  Family family = BeitFamily();
  family.name = "eva";
  family.what = "EVA-01 as timm saves it: positions in a table alone, norms before the sublayers";
  // EVA-02 has rotary positions and its largest model norms after the sublayers, neither of which leaves a tensor.
  family.marks = {"cls_token", "patch_embed.proj.weight", "blocks.#.attn.q_bias", "pos_embed"};
  family.must_be_said = true;
  family.architectures = {"eva_giant_*", "eva_large_*"};
  family.interpolation = PositionInterpolation::kAntialias;
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  return family;
}

}  // namespace tec
