// A family of weight files: how one project spells the tensors of a vision transformer.
//
// Each family is a table in its own file. A table says which names mark a file as the family's, which of its encoders
// is meant where there are several, and how the tensors are called here (vit_plan.h). What stands before the names
// (module., _orig_mod., backbone., student.backbone., ...), and heads beside the encoder, are found by one rule for all
// families (encoder_place.h). A tensor of the encoder that no rule of the family knows is an error.
//
// Patterns: '#' stands for a block number, '%' for a number that plays no part, a '*' at the end for any rest.

#ifndef TEC_CHECKPOINT_FAMILIES_FAMILY_H_
#define TEC_CHECKPOINT_FAMILIES_FAMILY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tec/checkpoint/families/rotary_traits.h"
#include "tec/nn/activation.h"
#include "tec/nn/interpolation.h"

namespace tec {

struct NameRule {
  std::string from, to;
};

struct Family {
  std::string name;  // For --family.
  std::string what;  // One line for tables and messages.
  // Of a file with several encoders the one that is meant, most wanted first: an entry of the file's top level, or a
  // part of what stands before the names (student.backbone.).
  std::vector<std::string> entries = {"model", "state_dict"};
  // The last part of what stands before the names must be one of these; none: any.
  std::vector<std::string> under;
  // The file is this family's if each is there, after the prefix. '|' separates alternatives. The first has none and no
  // wildcard: the prefix is what stands before it.
  std::vector<std::string> marks;
  // Nor this family's if one of these is there.
  std::vector<std::string> absent;
  // Other models have the same names and shapes: only a config.json beside the file, or the user, can say that it is
  // this one.
  bool must_be_said = false;
  std::vector<NameRule> names;
  // Of the encoder's tensors that stand outside of the prefix, where they have no other place.
  std::vector<NameRule> names_outside;
  // Of names with or without the prefix, beside those that the rule for heads finds.
  std::vector<std::string> left_out;
  // Of what changes the features, is no part of a ViT, and is not read: the pattern, and why.
  std::vector<NameRule> refused;

  // What leaves no trace in the tensors. What a config.json beside the file says goes before all of it.
  double norm_epsilon = 1e-6;
  Activation activation = Activation::kGelu;
  bool class_token = true;  // The model has one.
  bool no_norm = false;     // It has none after the last block.
  bool rms_norm = false;    // Its norms divide by the root mean square, and have no bias.
  bool post_norm = false;   // Its norms stand after attention and MLP.
  // Its patch embedding is a matrix [C, c P P] of patches channel by channel, and its positions are resampled for each
  // size of images from a table for the largest (C-RADIO).
  bool resampled_positions = false;
  std::optional<RotaryTraits> rotary;
  // Pixels a side of the images that the published models are for: of those that have no table that tells.
  int64_t published_size = 0;
  // How their images are normalised, if others than by ImageNet's statistics: of each channel.
  std::vector<float> published_mean, published_std;
  // Heads of the published models by their width, 0 where there are several; UsualHeads (usual_heads.h) unless given.
  std::vector<std::pair<int64_t, int64_t>> published_heads;
  // The config.json that may stand beside such a file. Families with Hugging Face's names: its "model_type", one of
  // these. All others: timm's "architecture", which fits one of these patterns, none: any; and has one of these parts,
  // none: any.
  std::vector<std::string> model_types;
  std::vector<std::string> architectures;
  std::vector<std::string> architecture_parts;
  // And none of these: architectures of the same names that differ in what leaves no trace.
  std::vector<std::string> other_architecture_parts;
  // Whether the project itself interpolates the position table to other image sizes.
  bool interpolates_positions = false;
  // How it, or else what fits the table for it, does that; with register tokens another way, if there is one.
  PositionInterpolation interpolation = PositionInterpolation::kPlain;
  std::optional<PositionInterpolation> interpolation_with_registers;
};

// The names of timm, MAE and this project, which are those that a plan's tensors have; and further parts that some
// families have: see vit_plan.cc.
std::vector<NameRule> PlainNames();
// The same without pos_embed: of families that have rotary positions alone.
std::vector<NameRule> PlainNamesWithoutPositions();
// Names of Hugging Face's DINOv3 and RADIO inside a block, which is called `block` there ("layer.#.").
std::vector<NameRule> HuggingFaceBlockNames(const std::string& block);

// Names of parts that no plan's tensor is called like, of a family with resampled_positions: how the model normalises
// pixels, [c, 1, 1] each; its tokens before the patches, [n, C]; which of them it hands on, int64 [m].
inline constexpr char kPixelMean[] = "pixel_mean", kPixelStd[] = "pixel_std";
inline constexpr char kTokenRows[] = "token_rows", kSummaryRows[] = "summary_rows";

// What an architecture is called here that OpenCLIP's own open_clip_config.json describes and does not name.
inline constexpr char kOpenClipTower[] = "open_clip";

// Lets timm's config.json of a plain ViT with [CLS] stand beside the family's files, and none of its models of the same
// shapes that have more than that, or something else (norms before the blocks, rotary positions, ...).
void TakePlainArchitectures(Family* family);

// `name` under the first of `rules` whose pattern fits; nullopt if none does.
std::optional<std::string> Renamed(absl::string_view name, const std::vector<NameRule>& rules);
bool FitsAny(absl::string_view name, const std::vector<std::string>& patterns);

// In the order in which they are tried.
const std::vector<Family>& Families();
// nullptr for an unknown name.
const Family* FindFamily(absl::string_view name);
std::vector<std::string> FamilyNames();

// The tables, one file each.
Family TecFamily();
Family MaeFamily();
Family IbotFamily();
Family IbotTeacherFamily();
Family DinoFamily();
Family DinoTeacherFamily();
Family Dinov2Family();
Family Dinov3Family();
Family TimmDinov3Family();
Family BeitFamily();
Family EvaFamily();
Family Eva02Family();
Family Eva02EnormousFamily();
Family Beit3Family();
Family TimmPeFamily();
Family TimmPeGiganticFamily();
Family TimmRopeFamily();
Family TimmRopeNoClassFamily();
Family TimmSiglipFamily();
Family TimmNoClassFamily();
Family IjepaFamily();
Family TimmAimv2Family();
Family MocoV3Family();
Family DeitFamily();
Family TimmFamily();
Family MmpretrainFamily();
Family HuggingFaceVitFamily();
Family HuggingFaceMaeFamily();
Family HuggingFaceDinov2Family();
Family HuggingFaceDinov3Family();
Family HuggingFaceBeitFamily();
Family HuggingFaceClipFamily();
Family HuggingFaceOpenClipFamily();
Family HuggingFaceDeitFamily();
Family HuggingFaceSiglipFamily();
Family HuggingFaceIjepaFamily();
Family HuggingFaceAimv2Family();
Family TimmClipFamily();
Family TimmOpenClipFamily();
Family ClipFamily();
Family OpenClipFamily();
Family RadioFamily();
Family HuggingFaceRadioFamily();

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_FAMILY_H_
