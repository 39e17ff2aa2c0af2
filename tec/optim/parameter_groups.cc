#include "tec/optim/parameter_groups.h"

#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// cls_token's layer in the reference.
constexpr int64_t kClassTokenLayer = -1;

void Add(ParameterGroup& group, const std::string& name, const at::Tensor& parameter) {
  group.names.push_back(name);
  group.parameters.push_back(parameter);
}

int64_t LayerOf(const std::string& name, int64_t depth) {
  if (name == "cls_token") return kClassTokenLayer;
  if (absl::StartsWith(name, "patch_embed.")) return 0;
  if (absl::StartsWith(name, "blocks.")) {
    const int64_t block = std::atoll(name.c_str() + 7);
    TEC_CHECK(block >= 0 && block < depth) << name << " in a model of " << depth << " blocks";
    return block + 1;
  }
  return depth + 1;
}

// Tokens, and tables of where a token lies, are no weights of a map: timm's models and BEiT's code name the same.
bool HasDecay(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() != 1 && name != "cls_token" && name != "reg_token" &&
         !absl::EndsWith(name, ".relative_position_bias_table");
}

}  // namespace

std::vector<ParameterGroup> PretrainingGroups(const NamedTensors& trainable, double weight_decay) {
  std::vector<ParameterGroup> groups(2);
  groups[1].weight_decay = weight_decay;
  for (const auto& [name, parameter] : trainable) {
    const bool decayed = parameter.dim() != 1 && !absl::EndsWith(name, ".bias");
    Add(groups[decayed ? 1 : 0], name, parameter);
  }
  return groups;
}

std::vector<ParameterGroup> FinetuningGroups(const NamedTensors& trainable, int64_t depth, double weight_decay,
                                             double layer_decay) {
  std::vector<ParameterGroup> groups;
  std::map<std::pair<int64_t, bool>, size_t> place;  // (layer, decayed) -> index in groups.
  for (const auto& [name, parameter] : trainable) {
    const bool decayed = HasDecay(name, parameter);
    const int64_t layer = LayerOf(name, depth);
    const auto [found, added] = place.emplace(std::make_pair(layer, decayed), groups.size());
    if (added) {
      ParameterGroup group;
      group.weight_decay = decayed ? weight_decay : 0;
      const int64_t power = layer == kClassTokenLayer ? 0 : depth + 1 - layer;
      group.lr_scale = std::pow(layer_decay, static_cast<double>(power));
      groups.push_back(std::move(group));
    }
    Add(groups[found->second], name, parameter);
  }
  return groups;
}

}  // namespace tec
