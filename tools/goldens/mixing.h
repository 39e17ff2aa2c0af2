// A mixing of two images as the stored numbers name it.

#ifndef TEC_TOOLS_GOLDENS_MIXING_H_
#define TEC_TOOLS_GOLDENS_MIXING_H_

#include <string>

#include "absl/status/statusor.h"
#include "data/augment/mix.h"
#include "nlohmann/json.hpp"

namespace tec {

// kind "none"; "mix" with value lambda; "cut" with value [y low, y high, x low, x high], half open, of a height x width
// image. InvalidArgument for anything else.
absl::StatusOr<Mix> MixOf(const std::string& kind, const nlohmann::json& value, int height, int width);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_MIXING_H_
