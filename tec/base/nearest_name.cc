#include "tec/base/nearest_name.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tec {

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string NearestName(const std::string& name, const std::vector<std::string>& candidates) {
  std::string nearest;
  size_t best = name.size() / 3 + 1;
  // Nobody mistypes a name of a thousand letters, and the distance takes the product of both lengths.
  constexpr size_t kMaxLength = 1000;
  for (const std::string& candidate : candidates) {
    const bool prefixed =
        absl::EndsWith(name, absl::StrCat(".", candidate)) || absl::EndsWith(candidate, absl::StrCat(".", name));
    const size_t longer = std::max(name.size(), candidate.size()), shorter = std::min(name.size(), candidate.size());
    // A distance is no less than what the lengths differ by.
    if (!prefixed && (longer > kMaxLength || longer - shorter >= best)) continue;
    const size_t distance = prefixed ? 0 : EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace tec
