#include "tools/goldens/mixing.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace tec {

absl::StatusOr<Mix> MixOf(const std::string& kind, const nlohmann::json& value, int height, int width) {
  if (kind == "none") return Mix();
  if (kind == "mix") {
    const double lambda = value;
    if (lambda >= 0 && lambda <= 1) return MixupOf(lambda);
  } else if (kind == "cut") {
    const auto [top, bottom, left, right] = value.get<std::array<int, 4>>();
    if (0 <= top && top <= bottom && bottom <= height && 0 <= left && left <= right && right <= width) {
      return CutmixOf(Box{top, left, bottom - top, right - left}, height, width);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("no such mixing: ", kind, " ", value.dump()));
}

}  // namespace tec
