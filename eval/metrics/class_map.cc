#include "eval/metrics/class_map.h"

#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "tec/base/look_alike.h"
#include "tec/base/printable.h"

namespace tec {

absl::StatusOr<std::vector<int64_t>> MapClasses(const std::vector<std::string>& training,
                                                const std::vector<std::string>& held_out) {
  constexpr int kNamed = 5;
  std::unordered_map<std::string, int64_t> number;
  for (size_t i = 0; i < training.size(); ++i) number.emplace(training[i], static_cast<int64_t>(i));
  std::vector<int64_t> map;
  std::string unknown;
  int64_t unknowns = 0;
  for (const std::string& name : held_out) {
    const auto found = number.find(name);
    if (found == number.end()) {
      if (++unknowns <= kNamed) absl::StrAppend(&unknown, unknown.empty() ? "" : ", ", Printable(name));
      continue;
    }
    map.push_back(found->second);
  }
  if (unknowns > 0) {
    const std::string alike = FindLookAlikes(training, held_out);
    return absl::InvalidArgumentError(absl::StrCat(unknowns, " of the ", held_out.size(), " held-out classes ",
                                                   unknowns == 1 ? "is" : "are", " not among the ", training.size(),
                                                   " training classes: ", unknown, unknowns > kNamed ? ", ..." : "",
                                                   alike.empty() ? "" : "; alike, but not the same, are ", alike));
  }
  return map;
}

}  // namespace tec
