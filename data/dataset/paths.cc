#include "data/dataset/paths.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr size_t kMostPaths = 1000000;

// What stands between braces.
absl::StatusOr<std::vector<std::string>> Alternatives(absl::string_view inside) {
  const size_t dots = inside.find("..");
  if (dots == absl::string_view::npos) return std::vector<std::string>(absl::StrSplit(inside, ','));
  const absl::string_view first_text = inside.substr(0, dots), last_text = inside.substr(dots + 2);
  int64_t first, last;
  if (!absl::SimpleAtoi(first_text, &first) || !absl::SimpleAtoi(last_text, &last) || first < 0 || last < 0) {
    return absl::InvalidArgumentError(absl::StrCat("{", inside, "} is no range of whole numbers"));
  }
  if (static_cast<size_t>(std::max(first, last) - std::min(first, last)) >= kMostPaths) {
    return absl::InvalidArgumentError(absl::StrCat("{", inside, "} stands for more than ", kMostPaths, " paths"));
  }
  const bool padded = (first_text[0] == '0' && first_text.size() > 1) || (last_text[0] == '0' && last_text.size() > 1);
  const int width = padded ? static_cast<int>(std::max(first_text.size(), last_text.size())) : 1;
  std::vector<std::string> numbers;
  for (int64_t number = first;; number += first <= last ? 1 : -1) {
    numbers.push_back(absl::StrFormat("%0*d", width, number));
    if (number == last) return numbers;
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExpandBraces(absl::string_view path) {
  std::vector<std::string> paths = {""};
  while (!path.empty()) {
    const size_t open = std::min(path.find('{'), path.size());
    for (std::string& one : paths) one.append(path.data(), open);
    path.remove_prefix(open);
    if (path.empty()) break;
    const size_t close = path.find('}');
    if (close == absl::string_view::npos) return absl::InvalidArgumentError("a brace that does not end");
    TEC_ASSIGN_OR_RETURN(const std::vector<std::string> alternatives, Alternatives(path.substr(1, close - 1)));
    if (paths.size() * alternatives.size() > kMostPaths) {
      return absl::InvalidArgumentError(absl::StrCat("its braces stand for more than ", kMostPaths, " paths"));
    }
    std::vector<std::string> longer;
    for (const std::string& one : paths) {
      for (const std::string& alternative : alternatives) longer.push_back(absl::StrCat(one, alternative));
    }
    paths = std::move(longer);
    path.remove_prefix(close + 1);
  }
  return paths;
}

}  // namespace tec
