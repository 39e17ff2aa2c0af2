#include "data/dataset/archive_labels.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/names.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

// Up to its last slash, which stays; empty for a name without a folder.
absl::string_view FolderOf(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return slash == absl::string_view::npos ? absl::string_view() : name.substr(0, slash + 1);
}

// The folders that all pictures lie in, with a slash at the end.
std::string SharedFolders(const Catalogue& catalogue) {
  std::string shared(FolderOf(catalogue.name(0)));
  for (int64_t i = 1; i < catalogue.size() && !shared.empty(); ++i) {
    const absl::string_view folder = FolderOf(catalogue.name(i));
    if (absl::StartsWith(folder, shared)) continue;
    const auto differ =
        std::mismatch(shared.begin(), shared.begin() + std::min(shared.size(), folder.size()), folder.begin());
    shared = std::string(FolderOf(absl::string_view(shared).substr(0, differ.first - shared.begin())));
  }
  return shared;
}

// The first folder of `name` after `skipped` bytes; empty if there is none.
absl::string_view FirstFolder(absl::string_view name, size_t skipped) {
  name.remove_prefix(std::min(skipped, name.size()));
  const size_t slash = name.find('/');
  return slash == absl::string_view::npos ? absl::string_view() : name.substr(0, slash);
}

// Whether the names differ in numbers alone ("train-00003-of-00100") that lie close together, as those of shards do, of
// which some may be missing; WordNet's are thousands apart.
bool AreNumbered(const std::vector<std::string>& archives) {
  constexpr int64_t kMostApart = 4;  // On average.
  std::set<std::string> frames;
  std::vector<std::set<int64_t>> numbers;  // For each place of a number.
  for (const std::string& archive : archives) {
    const absl::string_view stem = StemOf(archive);
    std::string frame;
    size_t place = 0;
    for (size_t i = 0; i < stem.size();) {
      if (!absl::ascii_isdigit(stem[i])) {
        frame += stem[i++];
        continue;
      }
      const size_t begin = i;
      while (i < stem.size() && absl::ascii_isdigit(stem[i])) ++i;
      int64_t number;
      if (!absl::SimpleAtoi(stem.substr(begin, i - begin), &number)) return false;
      frame += '#';
      if (numbers.size() == place) numbers.emplace_back();
      numbers[place++].insert(number);
    }
    frames.insert(frame);
  }
  return frames.size() == 1 && !numbers.empty() &&
         std::all_of(numbers.begin(), numbers.end(), [](const std::set<int64_t>& place) {
           return *place.rbegin() - *place.begin() < kMostApart * static_cast<int64_t>(place.size());
         });
}

// `name_of` gives the class of a picture.
template <typename NameOf>
void SetLabels(const NameOf& name_of, Catalogue* catalogue) {
  std::map<std::string, int32_t> numbers;
  for (int64_t i = 0; i < catalogue->size(); ++i) numbers.emplace(name_of(i), 0);
  for (auto& [name, number] : numbers) {
    number = static_cast<int32_t>(catalogue->classes.size());
    catalogue->classes.push_back(name);
  }
  for (int64_t i = 0; i < catalogue->size(); ++i) catalogue->labels.push_back(numbers[std::string(name_of(i))]);
}

}  // namespace

absl::Status SelectPart(const std::string& where, Split split, Catalogue* catalogue) {
  if (split == Split::kWhole) return absl::OkStatus();
  const size_t shared = SharedFolders(*catalogue).size();
  std::set<std::string> parts;
  for (int64_t i = 0; i < catalogue->size(); ++i) {
    const absl::string_view part = FirstFolder(catalogue->name(i), shared);
    if (part != "train" && part != "val" && part != "valid" && part != "validation" && part != "test") {
      parts.clear();
      break;
    }
    parts.emplace(part);
  }
  const bool split_up = parts.size() > 1 && parts.count("train") > 0;
  if (split == Split::kTrain && !split_up) return absl::OkStatus();
  const std::string wanted = split == Split::kTrain ? "train" : parts.count("val") > 0 ? "val" : "test";
  if (!split_up || parts.count(wanted) == 0) {
    return absl::NotFoundError(absl::StrCat("no held-out pictures in ", where,
                                            ": looked for folders val/ and test/ beside a folder train/ in it"));
  }
  TEC_LOG(INFO) << "the pictures of " << where << ": those in its folder " << wanted;
  Catalogue part;
  part.containers = catalogue->containers;
  part.defects = catalogue->defects;
  const bool zips = !catalogue->packed.empty();
  for (int64_t i = 0; i < catalogue->size(); ++i) {
    if (FirstFolder(catalogue->name(i), shared) != wanted) continue;
    part.AddRecord(catalogue->name(i), catalogue->label(i), catalogue->container[i], catalogue->begin[i],
                   catalogue->bytes[i], zips ? catalogue->packed[i] : Catalogue::kPlain,
                   zips ? catalogue->checksums[i] : 0);
  }
  *catalogue = std::move(part);
  return absl::OkStatus();
}

absl::Status LabelByNames(Catalogue* catalogue) {
  const size_t shared = SharedFolders(*catalogue).size();
  std::set<std::string> folders;
  bool all_in_folders = true;
  for (int64_t i = 0; i < catalogue->size() && all_in_folders; ++i) {
    const absl::string_view folder = FirstFolder(catalogue->name(i), shared);
    all_in_folders = !folder.empty();
    folders.emplace(folder);
  }
  if (all_in_folders && folders.size() > 1) {
    SetLabels([&](int64_t i) { return std::string(FirstFolder(catalogue->name(i), shared)); }, catalogue);
    TEC_LOG(INFO) << "the folders in the archives are taken for the " << folders.size() << " classes, "
                  << Printable(*folders.begin()) << " being the first";
    return absl::OkStatus();
  }
  const std::vector<std::string>& archives = catalogue->containers;
  if (archives.size() < 2) {
    catalogue->why_unlabelled =
        "no .cls or .json with a label stands beside its pictures, and they do not lie in several folders";
  } else if (AreNumbered(archives)) {
    catalogue->why_unlabelled = absl::StrCat(
        "no .cls or .json with a label stands beside its pictures, they do not lie in several folders, and the names "
        "of its archives (",
        Printable(archives.front()), ", ...) are a numbering and no classes, which folders in the archives can name");
  } else {
    // As of class folders: a class that is there in one data set and not in another shifts the labels.
    std::vector<bool> filled(archives.size());
    for (const uint32_t archive : catalogue->container) filled[archive] = true;
    const auto empty = std::find(filled.begin(), filled.end(), false);
    if (empty != filled.end()) {
      const std::string name = Printable(archives[empty - filled.begin()]);
      const auto defect =
          std::find_if(catalogue->defects.begin(), catalogue->defects.end(),
                       [&](const std::string& one) { return absl::StartsWith(one, absl::StrCat(name, ": ")); });
      return absl::InvalidArgumentError(
          absl::StrCat(std::count(filled.begin(), filled.end(), false), " of ", archives.size(),
                       " archives, which stand for a class each, have no picture: ",
                       defect == catalogue->defects.end() ? name : *defect,
                       "; remove them or fill them, or the labels would shift between data sets"));
    }
    SetLabels([&](int64_t i) { return std::string(StemOf(archives[catalogue->container[i]])); }, catalogue);
    TEC_LOG(INFO) << "the archives are taken for the " << catalogue->classes.size() << " classes, "
                  << Printable(catalogue->classes.front()) << " being the first";
  }
  return absl::OkStatus();
}

}  // namespace tec
