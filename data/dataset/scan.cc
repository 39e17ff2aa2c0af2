#include "data/dataset/scan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/dataset/names.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

using Counts = std::map<std::string, int64_t>;

// ".gif 7, .txt 5", the most frequent first; `*all`: their sum.
std::string List(const Counts& by_name, int64_t* all) {
  std::vector<std::pair<std::string, int64_t>> counts(by_name.begin(), by_name.end());
  std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  *all = 0;
  for (auto& [name, count] : counts) {
    *all += count;
    name = Printable(name);
  }
  constexpr size_t kNamed = 10;
  const bool more = counts.size() > kNamed;
  if (more) counts.resize(kNamed);
  return absl::StrCat(absl::StrJoin(counts, ", ", absl::PairFormatter(" ")), more ? ", ..." : "");
}

std::string Files(int64_t count) { return absl::StrCat(count, count == 1 ? " file" : " files"); }

}  // namespace

void Scan::Count(int64_t pictures) {
  pictures_ += pictures;
  const auto now = std::chrono::steady_clock::now();
  if (now - said_ < std::chrono::seconds(5)) return;
  said_ = now;
  TEC_LOG(INFO) << "scanning " << root_ << ": " << pictures_ << " pictures so far";
}

bool Scan::LeavesOut(const std::string& path, absl::string_view name, bool folder) {
  if (const absl::string_view litter = LitterOf(name, folder); !litter.empty()) {
    ++litter_[std::string(litter)];
    return true;
  }
  if (exclude_.empty() || !FitsAny(exclude_, path)) return false;
  ++excluded_[folder ? absl::StrCat(name, "/") : std::string(SuffixOf(name))];
  return true;
}

void Scan::LeaveOut(absl::string_view suffix) {
  constexpr size_t kKept = 100;  // x.0001, x.0002, ... are a name's ends, but no suffixes.
  std::string key = suffix.empty() ? "without a suffix" : absl::AsciiStrToLower(suffix);
  if (suffixes_.size() >= kKept && suffixes_.count(key) == 0) key = "others";
  ++suffixes_[key];
}

void Scan::Report(Catalogue* catalogue) const {
  int64_t count;
  std::vector<std::string> parts;
  if (!suffixes_.empty()) {
    const std::string list = List(suffixes_, &count);
    parts.push_back(absl::StrCat(Files(count), ", not taken for pictures by their names: ", list));
  }
  if (!litter_.empty()) {
    const std::string list = List(litter_, &count);
    parts.push_back(absl::StrCat(Files(count), " or folders that other programs leave: ", list));
  }
  if (!excluded_.empty()) {
    const std::string list = List(excluded_, &count);
    parts.push_back(absl::StrCat(Files(count), " or folders that --exclude names: ", list));
  }
  catalogue->left_out = absl::StrJoin(parts, "; ");
  if (!parts_.empty()) {
    const std::string list = List(parts_, &count);
    catalogue->warnings.push_back(absl::StrCat(
        count, count == 1 ? " picture" : " pictures",
        " left out as parts of samples that have another one: names that are equal up to the first dot, beside a "
        "KEY.jpg or a label, are one sample: ",
        list));
  }
  if (!passed_over_.empty()) {
    const std::string list = List(passed_over_, &count);
    catalogue->warnings.push_back(
        absl::StrCat(count, count == 1 ? " member" : " members", " of archives passed over: ", list));
  }
}

Stamp Scan::StampOf(const std::string& path, const struct stat& info) {
  return Stamp{path, S_ISDIR(info.st_mode) ? 0 : int64_t{info.st_size},
               int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec};
}

}  // namespace tec
