// From a file's tensors to those of a plain vision transformer: what is to be set from what, found out and checked
// before anything is read.
//
//   TEC_ASSIGN_OR_RETURN(VitFile file, ReadVitFile(path));   // vit_file.h
//   for (const PlannedTensor& t : file.plan.tensors) Copy(t.read(), &model[t.name]);
//
// The names of a plan are MAE's and timm's: cls_token, reg_token, pos_embed, patch_embed.proj.*, patch_norm.*,
// norm_pre.*, blocks.#.{norm1,attn.qkv,attn.norm,attn.proj,attn.relative_position_bias_table,norm2,mlp.fc1,mlp.norm,
// mlp.fc2}.*, norm.*, attn_pool.{query,kv,proj,norm,mlp.fc1,mlp.fc2}.* (tec/models/encoder.h). What a family
// does otherwise is brought into that form, each tensor when it is read, so that a load holds one of them at a time:
//
// * q, k and v apart become one qkv; a missing bias of one of them is zero (BEiT's keys).
// * LayerScale (ls1, ls2) is multiplied into attn.proj and mlp.fc2, which is the same function.
// * cls_token_mlp, of any hidden width, is folded into cls_token, which is exact where the position row of [CLS] is
//   zero, as it is in TEC; unless it is to be kept (VitHints).
// * Other tokens than [CLS] and patches (registers, DeiT's distillation token, with their positions where they have
//   any) are reg_token.
// * A position table without [CLS] row gets a zero row, also where there is no [CLS]; where there is no table (BEiT,
//   DINOv3), all of it is zero.
// * Of tokens that are rows of one tensor (C-RADIO) one is cls_token and the others are reg_token.
// * A patch embedding that is a matrix is the convolution that it is the same as.
// * The learned token of an attention pool (SigLIP) and its projection become one query.
// * One relative position table for all blocks is each block's.
// * A linear map without bias in any block, or a patch embedding without one, gets a zero one; the mask of a bias is
//   multiplied into it.
// * With rotary positions the rows of q and k are put in the order of tec/nn/rotary.h (ArrangeRotary).

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_PLAN_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_PLAN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/encoder_place.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/vit_config.h"
#include "tec/checkpoint/families/vit_traits.h"
#include "tec/checkpoint/tensor_view.h"
#include "tec/nn/rotary_grid.h"

namespace tec {

struct PlannedTensor {
  std::string name;
  std::vector<int64_t> shape;
  // Names in the file, and the tensors.
  std::vector<std::string> from;
  std::vector<TensorView> sources;
  // The tensor: a view of the file where nothing is to be done, else a float32 copy.
  std::function<TensorView()> read;
};

struct VitPlan {
  std::string family;
  VitTraits traits;
  std::vector<PlannedTensor> tensors;       // In the order of MAE's state dict.
  std::vector<std::string> left_out;        // Names in the file that are no part of the encoder.
  StateDict classifier;                     // Of these, head.weight, head.bias and fc_norm.* behind the prefix.
  std::string prefix;                       // What stands before the encoder's names.
  std::vector<std::string> other_prefixes;  // Of further encoders in the file.
  int64_t file_tensors = 0;
  // pos_embed for images of `grid` x `grid` patches, [1, 1 + grid * grid, C], of a family that cuts each out of one
  // larger table; null: the plan's is interpolated.
  std::function<TensorView(int64_t grid)> positions_at;
  // How the model itself normalises pixels in [0, 1], of each channel, where that is in its tensors; else empty.
  std::vector<float> mean, std;
  // "ibot: 150 tensors set from 150 of the file's 155; left out by name: head.* (5); assumed: GELU, ...".
  std::string Report() const;
};

// What is known of the model beside its tensors.
struct VitHints {
  std::string entry;                        // --entry: a part of the prefix.
  const VitConfig* config = nullptr;        // Of the config.json beside the file, if it concerns the family.
  int64_t grid_rows = 0, grid_columns = 0;  // --grid: patches that the position table is for; 0: not said.
  bool keep_token_mlp = false;              // cls_token and cls_token_mlp.* as they are.
};

// InvalidArgument lists every tensor that is missing (with the nearest name), unexpected or of another shape; or says
// what has to be told.
absl::StatusOr<VitPlan> PlanVit(const Family& family, const StateDict& tensors, const VitHints& hints = {});

// Once traits.heads are known: the rows of q and k, of each head, in the order in which Rotary turns them. Nothing
// where there are no rotary positions, or the file has that order. InvalidArgument: the heads do not go with such
// positions.
absl::Status ArrangeRotary(VitPlan* plan);

// The positions that Rotary is made of; without frequencies where the model has none, or traits.heads are not known.
// ArrangeRotary comes first.
RotaryGrid RotaryGridOf(const VitTraits& traits);

// Reads every tensor of the plan. Those that need no change are views of the file.
absl::StatusOr<StateDict> ReadAll(const VitPlan& plan);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_PLAN_H_
