// What a weight file says about the vision transformer in it: sizes, parts, and what leaves no trace in the tensors.

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_TRAITS_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_TRAITS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tec/checkpoint/families/rotary_traits.h"
#include "tec/nn/activation.h"
#include "tec/nn/interpolation.h"

namespace tec {

// What the tensors, a config.json, the user or the family's published models say about the model.
struct VitTraits {
  int64_t width = 0, depth = 0, patch_size = 0, channels = 0;
  // Patches a side that the position table (or the relative one) is made for; where there is neither, of the images
  // that the model is published for.
  int64_t grid = 0;
  int64_t heads = 0;   // 0: nothing says.
  int64_t hidden = 0;  // Of the MLP: width of fc2's input.
  int64_t registers = 0;
  Activation activation = Activation::kGelu;
  double norm_epsilon = 1e-6;
  bool class_token = true;
  int64_t pool_hidden = 0;          // Of the MLP of attn_pool, where there is one.
  bool rms_norm = false;            // All norms.
  bool patch_norm = false;          // patch_norm.
  bool post_norm = false;           // In the blocks.
  bool attention_norm = false;      // blocks.#.attn.norm.
  bool mlp_norm = false;            // blocks.#.mlp.norm.
  bool qkv_bias = true;             // Of queries or values, or of all; without, they are 0.
  bool layer_scale = false;         // blocks.#.ls1.gamma.
  bool pre_norm = false;            // norm_pre.
  bool relative_positions = false;  // Each block has a relative_position_bias_table [(2 grid - 1)^2 + 3, heads].
  bool final_norm = false;          // norm.
  bool no_norm = false;             // The model ends with its last block. Without norm.* others end with a plain norm.
  bool absolute_positions = true;   // pos_embed is the file's; else it is all zero.
  std::optional<RotaryTraits> rotary;
  bool interpolates_positions = false;
  PositionInterpolation interpolation = PositionInterpolation::kPlain;
  // Of these, what nothing in the file tells, with where it comes from: "6 heads (the usual number for width 384)".
  std::vector<std::string> assumed;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_TRAITS_H_
