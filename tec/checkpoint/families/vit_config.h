// The config.json beside a weight file, Hugging Face's or timm's, or OpenCLIP's open_clip_config.json: what it says of
// the model, each entry of which is believed where the tensors do not tell, and must agree with them where they do.

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_CONFIG_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/families/vit_traits.h"
#include "tec/nn/activation.h"

namespace tec {

// What is not there stays 0 or empty.
struct VitConfig {
  std::string path;          // For messages.
  std::string model_type;    // Hugging Face's.
  std::string architecture;  // timm's: "vit_base_patch16_clip_quickgelu_224"; or kOpenClipTower.
  int64_t width = 0, depth = 0, heads = 0, hidden = 0, patch_size = 0, channels = 0;
  int64_t image_height = 0, image_width = 0;
  int64_t registers = -1;                                            // -1: not said.
  std::optional<bool> class_token, pre_norm, qkv_bias, layer_scale;  // VitTraits'.
  std::optional<Activation> activation;
  std::optional<double> norm_epsilon;
  std::optional<double> rotary_theta, rotary_span;  // RotaryTraits'.
  // Of a table of positions for the largest images, pixels a side; and tokens before the patches. (C-RADIO)
  int64_t table_pixels = 0, token_rows = 0;
  std::vector<float> mean, std;  // Of each channel, in units of [0, 1]: how the model's images are normalised.
};

// InvalidArgument: no JSON object of at most 1 MiB, an entry of another type, an unknown activation.
absl::StatusOr<VitConfig> ParseVitConfig(absl::string_view text);

// The config.json in the folder of `file`; beside a file that is called as OpenCLIP's are, open_clip_config.json.
// nullopt if there is none.
absl::StatusOr<std::optional<VitConfig>> ReadVitConfigBeside(const std::string& file);

// Puts into `traits`, which hold what the tensors say, what only the config tells (heads, epsilon, activation, rotary
// positions). InvalidArgument lists every entry of the config that is not the tensors'; `file` is for the message.
absl::Status TakeConfig(const VitConfig& config, const std::string& file, VitTraits* traits);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_CONFIG_H_
