#include "data/dataset/folders.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/dataset/archives.h"
#include "data/dataset/foreign.h"
#include "data/dataset/names.h"
#include "data/dataset/read_file.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/look_alike.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// The search for pictures that are not expected stops there: a loop of links has no end.
constexpr int kMaxSearchDepth = 64;

struct Listing {
  std::vector<std::string> files;     // Names of pictures, sorted bytewise.
  std::vector<std::string> archives;  // Names of tar and zip archives, sorted bytewise.
  std::vector<std::string> folders;   // Names, sorted bytewise.
  std::string foreign;                // Of a file that would be a data set if it were converted, what it is and how.
  std::vector<std::string> others;    // Names of some files that are none of these.
};
constexpr size_t kMostOthers = 16;

// What the first bytes of the other files of `path` say that one of them is; empty: nothing known.
std::string ForeignByBytes(const std::string& path, const Listing& listing) {
  for (const std::string& name : listing.others) {
    const OpenedFile file(OpenForReading(absl::StrCat(path, "/", name)));
    char head[1024];
    const ssize_t count = file.fd < 0 ? -1 : read(file.fd, head, sizeof(head));
    const std::string what = count <= 0 ? "" : ForeignContainer(absl::string_view(head, count), name);
    if (!what.empty()) return absl::StrCat(Printable(name), " is ", what);
  }
  return "";
}

// What `below`, a folder under the data set `root` (empty: itself), holds directly; entries that are neither pictures,
// archives nor folders are left out. `labels`: as in DatasetOptions.
absl::StatusOr<Listing> List(const std::string& root, const std::string& below, bool labels, Scan* scan,
                             bool count = true) {
  Listing listing;
  const std::string path = below.empty() ? root : absl::StrCat(root, "/", below);
  TEC_RETURN_IF_ERROR(ForEachEntry(path, count ? scan : nullptr, [&](const char* name, bool folder) {
    if (count ? scan->LeavesOut(below.empty() ? name : absl::StrCat(below, "/", name), name, folder)
              : !LitterOf(name, folder).empty()) {
      return true;
    }
    if (folder) {
      listing.folders.push_back(name);
    } else if (IsPictureName(name, labels)) {
      listing.files.push_back(name);
    } else if (IsArchiveName(name)) {
      listing.archives.push_back(name);
    } else {
      if (count) scan->LeaveOut(SuffixOf(name));
      if (listing.others.size() < kMostOthers) listing.others.push_back(name);
      if (listing.foreign.empty()) {
        const std::string what = ForeignContainer("", name);
        if (!what.empty()) listing.foreign = absl::StrCat(Printable(name), " is ", what);
      }
    }
    return true;
  }));
  std::sort(listing.files.begin(), listing.files.end());
  std::sort(listing.archives.begin(), listing.archives.end());
  std::sort(listing.folders.begin(), listing.folders.end());
  if (count) scan->Count(listing.files.size());
  return listing;
}

// A folder of a tree and the pictures directly in it.
struct TreeFolder {
  std::string path;   // Under the tree's root; empty: the root.
  std::string files;  // Their names, sorted, each ended by a zero byte: a string for each would cost twice the memory.
};

std::string Join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : name.empty() ? folder : absl::StrCat(folder, "/", name);
}

// A tree under a data set.
class Tree {
 public:
  // `top`: the tree's root, under the data set `root`.
  Tree(const std::string& root, const std::string& top, bool labels, Scan* scan)
      : root_(root), top_(top), labels_(labels), scan_(scan) {}

  // Adds its pictures in ImageFolder's order: folders by their path, in each its files by name; `prefix` comes before
  // their paths; label -1: none. Returns whether there were any.
  absl::StatusOr<bool> AddTo(const std::string& prefix, int32_t label, Catalogue* catalogue) {
    TEC_RETURN_IF_ERROR(ListAll(""));
    std::sort(folders_.begin(), folders_.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    const int64_t before = catalogue->size();
    for (const TreeFolder& folder : folders_) {
      for (size_t i = 0; i < folder.files.size(); i = folder.files.find('\0', i) + 1) {
        catalogue->Add(absl::StrCat(prefix, folder.path, folder.path.empty() ? "" : "/", folder.files.c_str() + i),
                       label);
      }
    }
    return catalogue->size() > before;
  }

 private:
  // `below` and every folder under it; "" is the tree's root.
  absl::Status ListAll(const std::string& below) {
    const std::string in_data_set = Join(top_, below), path = absl::StrCat(root_, "/", in_data_set);
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoToStatus(errno, "list the folder", path);
    const std::pair<dev_t, ino_t> self(info.st_dev, info.st_ino);
    if (std::find(above_.begin(), above_.end(), self) != above_.end()) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is a link back to a folder that it lies in"));
    }
    above_.push_back(self);
    TEC_ASSIGN_OR_RETURN(const Listing listing, List(root_, in_data_set, labels_, scan_));
    TreeFolder folder{below, ""};
    for (const std::string& name : listing.files) folder.files.append(name.c_str(), name.size() + 1);
    folders_.push_back(std::move(folder));
    for (const std::string& name : listing.folders) TEC_RETURN_IF_ERROR(ListAll(Join(below, name)));
    above_.pop_back();
    return absl::OkStatus();
  }

  const std::string root_, top_;
  const bool labels_;
  Scan* const scan_;
  std::vector<std::pair<dev_t, ino_t>> above_;  // Device and inode of the folders on the way here.
  std::vector<TreeFolder> folders_;
};

// Whether there is a picture anywhere under `below`.
absl::StatusOr<bool> HoldsPictures(const std::string& root, const std::string& below, bool labels, Scan* scan,
                                   int depth = 0) {
  if (depth > kMaxSearchDepth) return false;
  TEC_ASSIGN_OR_RETURN(const Listing listing, List(root, below, labels, scan, /*count=*/false));
  if (!listing.files.empty()) return true;
  for (const std::string& folder : listing.folders) {
    TEC_ASSIGN_OR_RETURN(const bool found, HoldsPictures(root, Join(below, folder), labels, scan, depth + 1));
    if (found) return true;
  }
  return false;
}

// A file under `below` that would be pictures if it were converted, and how, for messages; empty: none is near.
std::string FindForeign(const std::string& root, const std::string& below, bool labels, Scan* scan, int depth = 0) {
  constexpr int kDepth = 4;
  constexpr size_t kFolders = 4;  // Of a folder, the first ones.
  const absl::StatusOr<Listing> listing = List(root, below, labels, scan, /*count=*/false);
  if (!listing.ok()) return "";
  const std::string own = listing->foreign.empty() ? ForeignByBytes(Join(root, below), *listing) : listing->foreign;
  if (!own.empty()) return Join(Printable(below), own);
  for (size_t i = 0; i < std::min(listing->folders.size(), kFolders) && depth < kDepth; ++i) {
    const std::string found = FindForeign(root, Join(below, listing->folders[i]), labels, scan, depth + 1);
    if (!found.empty()) return found;
  }
  return "";
}

absl::Status NoPictures(const std::string& path, const std::string& looked_for, bool labels, Scan* scan) {
  std::string foreign = FindForeign(path, "", labels, scan);
  const absl::StatusOr<Listing> top = List(path, "", labels, scan, /*count=*/false);
  for (size_t i = 0; top.ok() && foreign.empty() && i < top->folders.size(); ++i) {
    const absl::StatusOr<Listing> below = List(path, top->folders[i], labels, scan, /*count=*/false);
    if (!below.ok() || below->archives.empty()) continue;
    foreign = absl::StrCat("archives lie in its folder ", Printable(top->folders[i]), " (",
                           Printable(below->archives.front()), ", ...): give that folder");
  }
  Catalogue seen;
  scan->Report(&seen);
  return absl::NotFoundError(
      absl::StrCat("no pictures in ", path, ": looked for ", looked_for,
                   "class folders with pictures, for pictures directly in it and for archives, files ending in ",
                   PictureExtensions(labels), " .tar .zip", foreign.empty() ? "" : absl::StrCat("; ", foreign),
                   seen.left_out.empty() ? "" : absl::StrCat("; left out ", seen.left_out)));
}

// Class folders whose names differ in nothing that is seen are hardly two classes; nor are "Train" and "Test".
void WarnOfOddClasses(const std::string& path, const std::vector<std::string>& classes) {
  const std::string pair = FindLookAlikes(classes, classes);
  if (!pair.empty()) TEC_LOG(WARNING) << path << ": class folders that look alike but differ: " << pair;
  const auto is_part = [](const std::string& name) {
    const std::string lower = absl::AsciiStrToLower(name);
    return lower == "train" || lower == "training" || lower == "val" || lower == "valid" || lower == "validation" ||
           lower == "test" || lower == "testing";
  };
  if (classes.size() > 1 && std::all_of(classes.begin(), classes.end(), is_part)) {
    TEC_LOG(WARNING) << path << ": " << Printable(absl::StrJoin(classes, ", "))
                     << " are taken for classes; parts of a data set are to be called train, and val or test";
  }
}

absl::StatusOr<Catalogue> CatalogueClasses(const std::string& path, const std::string& looked_for,
                                           const Listing& listing, Scan* scan) {
  Catalogue catalogue;
  catalogue.classes = listing.folders;
  catalogue.in_class_folders = true;
  std::vector<std::string> empty;
  std::string foreign;  // In the first of them.
  for (size_t i = 0; i < listing.folders.size(); ++i) {
    TEC_ASSIGN_OR_RETURN(
        const bool any,
        Tree(path, listing.folders[i], /*labels=*/true, scan).AddTo("", static_cast<int32_t>(i), &catalogue));
    if (any) continue;
    if (empty.empty()) foreign = FindForeign(path, listing.folders[i], /*labels=*/true, scan);
    empty.push_back(Printable(listing.folders[i]));
  }
  if (catalogue.size() == 0) return NoPictures(path, looked_for, /*labels=*/true, scan);
  if (!empty.empty()) {
    constexpr size_t kNamed = 10;
    const size_t named = std::min(empty.size(), kNamed);
    return absl::InvalidArgumentError(absl::StrCat(
        empty.size(), " of ", listing.folders.size(), " class folders of ", path, " without a picture: ",
        absl::StrJoin(empty.begin(), empty.begin() + named, ", "), empty.size() > named ? ", ..." : "",
        "; remove them or fill them, or the labels would shift between data sets (pictures are files ending in ",
        PictureExtensions(/*as_image_folder=*/true), ")", foreign.empty() ? "" : absl::StrCat("; ", foreign)));
  }
  WarnOfOddClasses(path, catalogue.classes);
  return catalogue;
}

}  // namespace

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool IsFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

absl::Status ForEachEntry(const std::string& path, Scan* scan,
                          const std::function<bool(const char* name, bool folder)>& take) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return ErrnoToStatus(errno, "list the folder", path);
  struct stat self;
  // Before its entries are read: what comes later changes it.
  if (scan != nullptr && fstat(dirfd(directory), &self) == 0) scan->Depend(path, self);
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const absl::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN || type == DT_LNK) {
      // A link to nowhere is no folder; a picture's name makes it a picture, which Read() will report.
      struct stat info;
      const bool known = stat(absl::StrCat(path, "/", name).c_str(), &info) == 0;
      type = known && S_ISDIR(info.st_mode) ? DT_DIR : DT_REG;
    }
    if (!take(entry->d_name, type == DT_DIR)) break;
    errno = 0;
  }
  const int error = errno;
  closedir(directory);
  return error == 0 ? absl::OkStatus() : ErrnoToStatus(error, "list the folder", path);
}

absl::StatusOr<Catalogue> CatalogueFolder(const std::string& path, const std::string& looked_for, Split split,
                                          bool labels, Scan* scan) {
  TEC_ASSIGN_OR_RETURN(Listing listing, List(path, "", labels, scan));
  const auto first_with_pictures = [&]() -> absl::StatusOr<std::string> {
    for (const std::string& folder : listing.folders) {
      TEC_ASSIGN_OR_RETURN(const bool pictures, HoldsPictures(path, folder, labels, scan));
      if (pictures) return folder;
    }
    return std::string();
  };
  if (!listing.archives.empty()) {
    TEC_ASSIGN_OR_RETURN(const std::string folder, first_with_pictures());
    if (!folder.empty() || !listing.files.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " holds archives (", Printable(listing.archives.front()), ") as well as pictures (",
                       Printable(listing.files.empty() ? folder : listing.files.front()),
                       "): which of them are meant? --exclude names what is not, as in --exclude='*.zip'"));
    }
    return CatalogueArchives(path, std::move(listing.archives), split, labels, scan);
  }
  if (labels && listing.files.empty()) return CatalogueClasses(path, looked_for, listing, scan);
  Catalogue catalogue;
  if (labels) {
    TEC_ASSIGN_OR_RETURN(const std::string folder, first_with_pictures());
    if (!folder.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " holds pictures (", Printable(listing.files.front()), ") as well as folders of pictures (",
          Printable(folder), "): keep either class folders or a flat folder, or name the pictures in a list file"));
    }
  }
  for (const std::string& file : listing.files) catalogue.Add(file, -1);
  if (labels) return catalogue;
  for (const std::string& folder : listing.folders) {
    const absl::StatusOr<bool> any = Tree(path, folder, labels, scan).AddTo(absl::StrCat(folder, "/"), -1, &catalogue);
    TEC_RETURN_IF_ERROR(any.status());
  }
  if (catalogue.size() == 0) return NoPictures(path, looked_for, labels, scan);
  return catalogue;
}

}  // namespace tec
