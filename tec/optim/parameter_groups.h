// Which parameters share a weight decay and a learning-rate scale. (recipe.md sections 6 and 13.2)

#ifndef TEC_OPTIM_PARAMETER_GROUPS_H_
#define TEC_OPTIM_PARAMETER_GROUPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tec/nn/module_state.h"

namespace tec {

struct ParameterGroup {
  std::vector<std::string> names;
  std::vector<at::Tensor> parameters;  // The model's own, in registration order.
  double weight_decay = 0;
  double lr_scale = 1;
};

// `trainable` is NamedTrainable(model) in both.

// Two groups, in the reference's order: without decay (1-D tensors and names ending in ".bias"), then with it.
// cls_token and the mask tokens are 3-D and decayed.
std::vector<ParameterGroup> PretrainingGroups(const NamedTensors& trainable, double weight_decay);

// Layer-wise decay for a FinetuneModel of `depth` blocks: one group per (layer, decay), in order of first appearance.
// patch_embed is layer 0, blocks.i layer i + 1, everything else layer depth + 1, with lr_scale
// layer_decay^(depth + 1 - layer). cls_token is a layer of its own with lr_scale 1 and without decay: in the reference
// its number is -1, which indexes the last scale.
std::vector<ParameterGroup> FinetuningGroups(const NamedTensors& trainable, int64_t depth, double weight_decay,
                                             double layer_decay);

}  // namespace tec

#endif  // TEC_OPTIM_PARAMETER_GROUPS_H_
