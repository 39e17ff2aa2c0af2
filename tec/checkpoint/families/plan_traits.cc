#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tec/checkpoint/families/plan_steps.h"

namespace tec {
namespace {

using Part = PlanBuilder::Part;

std::set<int64_t> BlocksOf(PlanBuilder& builder) {
  std::set<int64_t> blocks;
  for (const auto& [name, part] : builder.parts()) {
    const std::vector<absl::string_view> pieces = absl::StrSplit(name, '.');
    int64_t block;
    if (pieces.size() > 2 && pieces[0] == "blocks" && absl::SimpleAtoi(pieces[1], &block)) blocks.insert(block);
  }
  if (blocks.empty()) builder.AddMissing("blocks.0.norm1.weight");
  if (!blocks.empty() && *blocks.rbegin() + 1 != static_cast<int64_t>(blocks.size())) {
    builder.AddProblem(absl::StrCat("the blocks are not numbered in a row: ", absl::StrJoin(blocks, ", ")));
  }
  return blocks;
}

void FindMlp(PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  traits.hidden = 4 * traits.width;
  const Part *fc1 = builder.Find("blocks.0.mlp.fc1.weight"), *fc2 = builder.Find("blocks.0.mlp.fc2.weight");
  if (fc2 == nullptr || fc2->tensor.shape.size() != 2) return;
  traits.hidden = fc2->tensor.shape[1];
  if (builder.Find("blocks.0.mlp.gate.weight") != nullptr) {
    traits.activation = Activation::kSwiGlu;
  } else if (fc1 != nullptr && fc1->tensor.shape.size() == 2 && fc1->tensor.shape[0] == 2 * traits.hidden &&
             traits.hidden > 0) {
    // Which half is the gate, and by what it goes, is in no tensor.
    traits.activation = Activation::kSwiGlu;
    if (builder.family().activation != Activation::kSwiGlu) {
      traits.assumed.push_back("SwiGLU with the gate first (as in DINOv2)");
    }
  }
}

void FindRelativePositions(PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  for (const char* name : {kSharedRelativeTable, "blocks.0.attn.relative_position_bias_table"}) {
    const Part* table = builder.Find(name);
    if (table == nullptr) continue;
    traits.relative_positions = true;
    const Shape& shape = table->tensor.shape;
    const int64_t distances = shape.size() == 2 ? shape[0] - 3 : 0;
    const int64_t side = distances < 1 ? 0 : std::llround(std::sqrt(static_cast<double>(distances)));
    if (side * side == distances && side % 2 == 1 && shape[1] > 0) {
      traits.grid = (side + 1) / 2;
      traits.heads = shape[1];
    } else {
      builder.AddProblem(absl::StrCat(table->name, " has shape ", ShapeText(shape),
                                      ", not [(2 grid - 1)^2 + 3, heads] for a square grid, which alone is supported"));
    }
  }
}

// [C, c P P], of which the tensors tell c where they have how the model normalises pixels.
void FindPatchMatrix(PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  const Part* patches = builder.Find("patch_embed.proj.weight");
  if (patches == nullptr) return;
  const Part* mean = builder.Find(kPixelMean);
  const Shape& shape = patches->tensor.shape;
  traits.channels = mean != nullptr && !mean->tensor.shape.empty() ? mean->tensor.shape[0] : 3;
  const int64_t pixels = shape.size() == 2 && traits.channels > 0 ? shape[1] / traits.channels : 0;
  const int64_t side = std::llround(std::sqrt(static_cast<double>(pixels)));
  if (side < 1 || side * side * traits.channels != shape[1] || shape[0] < 1) {
    builder.AddProblem(absl::StrCat(patches->name, " has shape ", ShapeText(shape), ", not [width, ", traits.channels,
                                    " * patch size * patch size]"));
    return;
  }
  traits.width = shape[0];
  traits.patch_size = side;
  // Channel by channel, as a convolution's weight is.
  builder.Reshape("patch_embed.proj.weight", {traits.width, traits.channels, side, side});
}

}  // namespace

std::set<int64_t> FindTraits(PlanBuilder& builder) {
  const Family& family = builder.family();
  VitTraits& traits = builder.traits();
  traits.activation = family.activation;
  traits.norm_epsilon = family.norm_epsilon;
  traits.interpolates_positions = family.interpolates_positions;
  traits.interpolation = family.interpolation;
  if (builder.Find("reg_token") != nullptr && family.interpolation_with_registers.has_value()) {
    traits.interpolation = *family.interpolation_with_registers;
  }
  if (const Part* patches = builder.Find("patch_embed.proj.weight");
      patches != nullptr && patches->tensor.shape.size() == 4) {
    const Shape& shape = patches->tensor.shape;
    traits.width = shape[0];
    traits.channels = shape[1];
    traits.patch_size = shape[3];
    if (patches->tensor.bytes.empty()) builder.AddProblem(absl::StrCat(patches->name, " is empty"));
  }
  if (family.resampled_positions) FindPatchMatrix(builder);
  const std::set<int64_t> blocks = BlocksOf(builder);
  traits.depth = blocks.size();
  FindMlp(builder);
  traits.class_token = family.class_token;
  traits.rms_norm = family.rms_norm;
  traits.post_norm = family.post_norm;
  traits.attention_norm = builder.Find("blocks.0.attn.norm.weight") != nullptr;
  traits.qkv_bias = false;
  for (const char* part : {"qkv", "q", "v"}) {
    traits.qkv_bias |= builder.Find(absl::StrCat("blocks.0.attn.", part, ".bias")) != nullptr;
  }
  traits.layer_scale = builder.Find("blocks.0.ls1.gamma") != nullptr;
  traits.mlp_norm = builder.Find("blocks.0.mlp.norm.weight") != nullptr;
  traits.patch_norm = builder.Find("patch_norm.weight") != nullptr;
  traits.pre_norm = builder.Find("norm_pre.weight") != nullptr || builder.Find("norm_pre.bias") != nullptr;
  traits.final_norm = builder.Find("norm.weight") != nullptr || builder.Find("norm.bias") != nullptr;
  FindRelativePositions(builder);
  return blocks;
}

void PlanFinalNorm(const VitHints& hints, PlanBuilder& builder) {
  const Family& family = builder.family();
  VitTraits& traits = builder.traits();
  if (traits.final_norm) return builder.TakeNorm("norm", traits.width);
  traits.no_norm = family.no_norm;
  // A norm after pooling (fc_norm) is of a classifier, and with it the tokens are normalised plainly; BEiT's always has
  // one of the two norms.
  const bool pooled = builder.plan().classifier.Find("fc_norm.weight") != nullptr || traits.relative_positions;
  if (family.no_norm || pooled) return;
  const VitConfig* config = hints.config;
  const bool ours = family.name == TecFamily().name;
  // timm's architectures have all their tensors in a file.
  if (config != nullptr && !config->architecture.empty() && config->architecture != kOpenClipTower && !ours) {
    traits.no_norm = true;
    return;
  }
  if (!family.model_types.empty()) return;
  // The encoders of MAE and TEC, whose conversion leaves the norm out, have none of these.
  for (const char* name : {"reg_token", "blocks.0.ls1.gamma", "norm_pre.weight"}) {
    traits.no_norm |= builder.Find(name) != nullptr;
  }
  if (ours) return;
  traits.assumed.push_back(traits.no_norm ? "no norm after the last block"
                                          : "a plain norm after the last block, as the file has none");
}

}  // namespace tec
