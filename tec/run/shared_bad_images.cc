#include "tec/run/shared_bad_images.h"

#include <vector>

#include "tec/base/status.h"

namespace tec {

absl::Status SharedBadImages::Share() {
  std::vector<int64_t> mine;
  for (const BadImage& image : loader_.bad_images()) mine.push_back(image.index);
  TEC_ASSIGN_OR_RETURN(const std::vector<int64_t> all, group_.Union(mine, loader_.dataset().size()));
  loader_.CountBadOfOthers(all);
  shared_ = loader_.bad_count();
  return absl::OkStatus();
}

}  // namespace tec
