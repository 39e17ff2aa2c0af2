// facebookresearch/dinov2: the hub's files, the teacher files of its evaluations, and training files, which nest blocks
// in chunks: blocks.<chunk>.<block>. with the block's number counted over all chunks.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family Dinov2Family() {
  Family family;
  family.name = "dinov2";
  family.what = "DINOv2 (LayerScale, register tokens, SwiGLU, chunked blocks)";
  family.entries = {"teacher", "model", "state_dict"};
  family.marks = {"cls_token", "patch_embed.proj.weight", "mask_token", "blocks.#.ls1.gamma|blocks.%.#.ls1.gamma"};
  for (const char* blocks : {"blocks.#.", "blocks.%.#."}) {
    const std::string from = blocks;
    for (const char* part :
         {"norm1.*", "attn.qkv.*", "attn.proj.*", "norm2.*", "mlp.fc1.*", "mlp.fc2.*", "ls1.gamma", "ls2.gamma"}) {
      family.names.push_back({from + part, std::string("blocks.#.") + part});
    }
    family.names.push_back({from + "mlp.w12.*", "blocks.#.mlp.fc1.*"});
    family.names.push_back({from + "mlp.w3.*", "blocks.#.mlp.fc2.*"});
  }
  for (const char* name : {"cls_token", "pos_embed", "patch_embed.proj.*", "norm.*"}) {
    family.names.push_back({name, name});
  }
  family.names.push_back({"register_tokens", "reg_token"});
  family.interpolates_positions = true;
  // dinov2/models/vision_transformer.py: interpolate_offset 0.1; 0 and antialiasing for the hub's models with
  // registers.
  family.interpolation = PositionInterpolation::kOffset;
  family.interpolation_with_registers = PositionInterpolation::kAntialias;
  TakePlainArchitectures(&family);
  return family;
}

}  // namespace tec
