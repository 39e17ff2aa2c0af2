// From a file's tensors to those of a plain vision transformer: what is to be set from what, found out and checked
// before anything is read.
//
//   TEC_ASSIGN_OR_RETURN(VitFile file, ReadVitFile(path));             // recognised; or forced: ReadVitFile(path,
//   "ibot") for (const PlannedTensor& t : file.plan.tensors) Copy(t.read(), &model[t.name]);
//
// The names of a plan are MAE's and timm's: cls_token, reg_token, pos_embed, patch_embed.proj.*, norm_pre.*,
// blocks.#.{norm1,attn.qkv,attn.proj,attn.relative_position_bias_table,norm2,mlp.fc1,mlp.fc2}.*, norm.*. What a family
// does otherwise is brought into that form, each tensor when it is read, so that a load holds one of them at a time:
//
// * q, k and v apart become one qkv; a missing bias of one of them is zero (BEiT's keys).
// * LayerScale (ls1, ls2) is multiplied into attn.proj and mlp.fc2, which is the same function.
// * cls_token_mlp is folded into cls_token, which is exact where the position row of [CLS] is zero, as it is in TEC.
// * Other tokens than [CLS] and patches (registers, DeiT's distillation token with its position) are reg_token.
// * A position table without [CLS] row gets a zero row; where there is none (BEiT), all of it is zero.
// * One relative position table for all blocks is each block's.
// * A patch embedding without bias (CLIP) gets a zero one.

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_PLAN_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_PLAN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

// What the tensors, or a config.json, say about the model.
struct VitTraits {
  int64_t width = 0, depth = 0, patch_size = 0, channels = 0;
  int64_t grid = 0;    // Patches a side that the position table (or the relative one) is made for.
  int64_t heads = 0;   // 0: the file does not say.
  int64_t hidden = 0;  // Of the MLP: width of fc2's input.
  int64_t registers = 0;
  Activation activation = Activation::kGelu;
  double norm_epsilon = 1e-6;
  bool pre_norm = false;            // norm_pre.
  bool relative_positions = false;  // Each block has a relative_position_bias_table [(2 grid - 1)^2 + 3, heads].
  bool final_norm = false;          // norm.
  bool interpolates_positions = false;
  PositionInterpolation interpolation = PositionInterpolation::kPlain;
};

struct PlannedTensor {
  std::string name;
  std::vector<int64_t> shape;
  // Names in the file.
  std::vector<std::string> from;
  // The tensor: a view of the file where nothing is to be done, else a float32 copy.
  std::function<TensorView()> read;
};

struct VitPlan {
  std::string family;
  VitTraits traits;
  std::vector<PlannedTensor> tensors;  // In the order of MAE's state dict.
  std::vector<std::string> left_out;   // Names in the file that the family leaves out.
  int64_t file_tensors = 0;
  // "ibot: 150 tensors set from 150 of the file's 155; left out by name: head.* (5)".
  std::string Report() const;
};

// InvalidArgument lists every tensor that is missing (with the nearest name), unexpected or of another shape.
absl::StatusOr<VitPlan> PlanVit(const Family& family, const StateDict& tensors);

// The family whose marks are in `tensors`. InvalidArgument: none, with what there is instead; or two that only the user
// can tell apart (CLIP's activations).
absl::StatusOr<const Family*> RecogniseFamily(const StateDict& tensors);

// What a config.json of Hugging Face's says: heads, epsilon, activation. InvalidArgument: no JSON object of at most
// 1 MiB, or an unknown activation.
absl::Status TakeConfig(absl::string_view text, VitPlan* plan);

struct VitFile {
  VitPlan plan;
  std::string container;  // "zip .pth", "legacy .pth", "safetensors", "safetensors in 3 shards".
  std::string entry;      // Of the top level; "": the file itself.
  // "PATH: zip .pth, entry student, " and the plan's report.
  std::string description;
};

// Reads any weight file that holds a vision transformer: a file, an index of sharded files, or a folder with Hugging
// Face's names (WeightFileIn); a config.json beside a .safetensors or .bin file is looked at. `family` forces one
// (FamilyNames()); "" recognises it.
absl::StatusOr<VitFile> ReadVitFile(const std::string& path, const std::string& family = "");

// Reads every tensor of the plan. Those that need no change are views of the file.
absl::StatusOr<StateDict> ReadAll(const VitPlan& plan);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_PLAN_H_
