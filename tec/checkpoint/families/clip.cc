// CLIP's image towers under OpenAI's and OpenCLIP's names. The two differ in the activation, which leaves no trace in
// the tensors: the user has to say which it is.

#include "tec/checkpoint/families/family.h"

namespace tec {

Family ClipFamily() {
  Family family;
  family.name = "clip";
  family.what = "CLIP, image tower, OpenAI's weights (QuickGELU)";
  family.entries = {"state_dict", "model"};
  family.marks = {"class_embedding", "conv1.weight", "ln_pre.weight"};
  family.names = {{"class_embedding", "cls_token"},
                  {"positional_embedding", "pos_embed"},
                  {"conv1.weight", "patch_embed.proj.weight"},
                  {"ln_pre.*", "norm_pre.*"},
                  {"ln_post.*", "norm.*"},
                  {"transformer.resblocks.#.ln_1.*", "blocks.#.norm1.*"},
                  {"transformer.resblocks.#.ln_2.*", "blocks.#.norm2.*"},
                  {"transformer.resblocks.#.attn.in_proj_weight", "blocks.#.attn.qkv.weight"},
                  {"transformer.resblocks.#.attn.in_proj_bias", "blocks.#.attn.qkv.bias"},
                  {"transformer.resblocks.#.attn.out_proj.*", "blocks.#.attn.proj.*"},
                  {"transformer.resblocks.#.mlp.c_fc.*", "blocks.#.mlp.fc1.*"},
                  {"transformer.resblocks.#.mlp.c_proj.*", "blocks.#.mlp.fc2.*"},
                  {"transformer.resblocks.#.ls_1.gamma", "blocks.#.ls1.gamma"},
                  {"transformer.resblocks.#.ls_2.gamma", "blocks.#.ls2.gamma"}};
  // "proj" maps the image's token to the space shared with texts. The rest is the text tower beside "visual.".
  family.left_out = {"proj",       "transformer.*",    "token_embedding.*", "positional_embedding",
                     "ln_final.*", "input_resolution", "context_length",    "vocab_size"};
  family.must_be_said = true;
  family.architectures = {kOpenClipTower};
  family.published_mean = {0.48145466f, 0.4578275f, 0.40821073f};
  family.published_std = {0.26862954f, 0.26130258f, 0.27577711f};
  family.norm_epsilon = 1e-5;
  // open_clip's resize_pos_embed; OpenAI's code has none.
  family.interpolation = PositionInterpolation::kAntialias;
  family.activation = Activation::kQuickGelu;
  return family;
}

Family OpenClipFamily() {
  Family family = ClipFamily();
  family.name = "open_clip";
  family.what = "CLIP, image tower, OpenCLIP's weights (GELU)";
  family.activation = Activation::kGelu;
  return family;
}

}  // namespace tec
