#include "data/loader/bad_image_limit.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/printable.h"

namespace tec {

int64_t BadImagesAllowed(double max_bad_fraction, int64_t images) {
  // The factor keeps 0.29 * 100 at 29.
  const double part = max_bad_fraction * static_cast<double>(images) * (1 + 1e-12);
  const int64_t allowed = std::min(images, static_cast<int64_t>(std::floor(part)));
  return max_bad_fraction > 0 ? std::max<int64_t>(allowed, 1) : allowed;
}

std::string BadImageLine(const std::string& name, const absl::Status& reason) {
  return absl::StrCat(Printable(name), ": ", Printable(reason.message()));
}

absl::Status TooManyBadImages(const std::vector<std::string>& lines, double max_bad_fraction, int64_t images) {
  constexpr size_t kNamed = 100;
  const size_t named = std::min(kNamed, lines.size());
  std::string names = absl::StrJoin(lines.begin(), lines.begin() + named, "\n  ");
  if (lines.size() > named) absl::StrAppend(&names, "\n  ... and ", lines.size() - named, " more");
  return absl::DataLossError(absl::StrCat(
      lines.size(), " of ", images, " images cannot be read; at most ", BadImagesAllowed(max_bad_fraction, images),
      " may be replaced by others (max_bad_fraction ", max_bad_fraction, "):\n  ", names));
}

}  // namespace tec
