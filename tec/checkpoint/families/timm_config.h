// What a config.json says whose arguments are those of timm's models: timm's own, NVIDIA's of C-RADIO, OpenCLIP's.

#ifndef TEC_CHECKPOINT_FAMILIES_TIMM_CONFIG_H_
#define TEC_CHECKPOINT_FAMILIES_TIMM_CONFIG_H_

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "tec/checkpoint/families/vit_config.h"

namespace tec {

inline constexpr char kRadio[] = "radio";  // transformers' model_type.

absl::Status TakeTimm(const nlohmann::json& config, VitConfig* result);

// NVIDIA's own config.json of (C-)RADIO, whose "args" are those of the training.
absl::Status TakeNvidia(const nlohmann::json& config, VitConfig* result);

// OpenCLIP's model_cfg: towers of its own, or timm's in it.
absl::Status TakeOpenClip(const nlohmann::json& model, VitConfig* result);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_TIMM_CONFIG_H_
