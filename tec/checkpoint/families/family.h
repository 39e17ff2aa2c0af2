// A family of weight files: how one project spells the tensors of a vision transformer.
//
// Each family is a table in its own file. A table says which names mark a file as the family's, which prefixes are cut
// off, which names are left out and how the others are called here (vit_plan.h). Nothing else is done by name: a tensor
// that no rule of the family knows is an error.
//
// Patterns: '#' stands for a block number, '%' for a number that plays no part, a '*' at the end for any rest.

#ifndef TEC_CHECKPOINT_FAMILIES_FAMILY_H_
#define TEC_CHECKPOINT_FAMILIES_FAMILY_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tec/nn/activation.h"
#include "tec/nn/interpolation.h"

namespace tec {

struct NameRule {
  std::string from, to;
};

struct Family {
  std::string name;  // For --base_model_family.
  std::string what;  // One line for tables and messages.
  // Entries of the file's top level that hold the weights, the first that is there; else the file itself.
  std::vector<std::string> entries = {"model", "state_dict"};
  // The first that some name starts with is cut off every name; a name without it must be left out. "" always fits.
  std::vector<std::string> prefixes = {""};
  // The file is this family's if each is there, after the prefix. '|' separates alternatives.
  std::vector<std::string> marks;
  std::vector<NameRule> names;
  // Of names with or without the prefix.
  std::vector<std::string> left_out;

  // What leaves no trace in the tensors. A config.json beside the file (Hugging Face) overrides both.
  double norm_epsilon = 1e-6;
  Activation activation = Activation::kGelu;
  // Whether the project itself interpolates the position table to other image sizes.
  bool interpolates_positions = false;
  // How it, or else what fits the table for it, does that; with register tokens another way, if there is one.
  PositionInterpolation interpolation = PositionInterpolation::kPlain;
  std::optional<PositionInterpolation> interpolation_with_registers;
};

// The names of timm, MAE and this project, which are those that a plan's tensors have; and further parts that some
// families have: see vit_plan.cc.
std::vector<NameRule> PlainNames();

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
Family BeitFamily();
Family MocoV3Family();
Family DeitFamily();
Family TimmFamily();
Family HuggingFaceVitFamily();
Family HuggingFaceMaeFamily();
Family HuggingFaceDinov2Family();
Family HuggingFaceBeitFamily();
Family HuggingFaceClipFamily();
Family ClipFamily();
Family OpenClipFamily();

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_FAMILY_H_
