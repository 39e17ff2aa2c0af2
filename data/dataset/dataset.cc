#include "data/dataset/dataset.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/dataset/archives.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/catalogue_dataset.h"
#include "data/dataset/folders.h"
#include "data/dataset/foreign.h"
#include "data/dataset/index.h"
#include "data/dataset/lists.h"
#include "data/dataset/names.h"
#include "data/dataset/pack.h"
#include "data/dataset/paths.h"
#include "data/dataset/read_file.h"
#include "data/dataset/scan.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {

absl::StatusOr<std::string> Dataset::Read(int64_t index) const {
  std::string bytes;
  TEC_RETURN_IF_ERROR(Read(index, &bytes));
  return bytes;
}

absl::StatusOr<absl::string_view> Dataset::View(int64_t index, std::string* buffer) const {
  TEC_RETURN_IF_ERROR(Read(index, buffer));
  return absl::string_view(*buffer);
}

namespace {

// Of the files that hold a part of a data set, in the order in which they are looked for.
constexpr const char* kPartSuffixes[] = {".tecpack", ".tar", ".zip", ".txt", ".csv"};

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// What catalogues of one path are told apart by.
const char* VariantOf(Split split) {
  return split == Split::kTrain ? "" : split == Split::kHeldOut ? " held out" : " whole";
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenFolder(const std::string& path, const std::string& looked_for, Split split,
                                                    const DatasetOptions& options) {
  return OpenIndexed(path, path, VariantOf(split), options,
                     [&](Scan* scan) { return CatalogueFolder(path, looked_for, split, options.labels, scan); });
}

// A packed file (data/dataset/pack.h).
absl::StatusOr<std::unique_ptr<Dataset>> OpenPack(const std::string& path, const DatasetOptions& options) {
  const auto file = std::make_shared<const OpenedFile>(OpenForReading(path));
  if (file->fd < 0) return ErrnoToStatus(errno, "open", path);
  struct stat info;
  if (fstat(file->fd, &info) != 0) return ErrnoToStatus(errno, "stat", path);
  const auto read_at = [&](uint64_t offset, size_t count, char* out) {
    return ReadRange(file->fd, path, offset, count, out);
  };
  absl::StatusOr<Catalogue> catalogue = ReadPackCatalogue(read_at, info.st_size);
  TEC_RETURN_IF_ERROR(Annotate(catalogue.status(), path));
  if (!options.labels) {
    catalogue->labels.clear();
    catalogue->classes.clear();
  }
  return CatalogueDataset::OfPack(path, *std::move(catalogue), file);
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenArchive(const std::string& path, Split split,
                                                     const DatasetOptions& options) {
  const std::string folder = FolderOf(path), name = path.substr(path.rfind('/') + 1);
  return OpenIndexed(absl::StrCat(folder, "/", name), folder, VariantOf(split), options,
                     [&](Scan* scan) { return CatalogueArchives(folder, {name}, split, options.labels, scan); });
}

// Refuses what is no list, by name, before all of it is read.
absl::Status CheckIsList(const std::string& path) {
  const OpenedFile file(OpenForReading(path));
  if (file.fd < 0) return ErrnoToStatus(errno, "open", path);
  char head[1024];
  const ssize_t count = read(file.fd, head, sizeof(head));
  if (count < 0) return ErrnoToStatus(errno, "read", path);
  const std::string what = ForeignContainer(absl::string_view(head, count), path);
  return what.empty() ? absl::OkStatus()
                      : absl::InvalidArgumentError(absl::StrCat(path, " is ", what, "; it is no list of files"));
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenList(const std::string& path, Split split, const DatasetOptions& options) {
  TEC_RETURN_IF_ERROR(CheckIsList(path));
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Scan scan(path, options.exclude);
  TEC_ASSIGN_OR_RETURN(Catalogue catalogue, CatalogueList(text, path, split, options.labels, &scan));
  scan.Report(&catalogue);
  if (!catalogue.left_out.empty()) TEC_LOG(INFO) << path << ": left out " << catalogue.left_out;
  return CatalogueDataset::OfList(FolderOf(path), std::move(catalogue));
}

// "train-{000..003}.tar": several archives.
absl::StatusOr<std::unique_ptr<Dataset>> OpenBraces(const std::string& path, const DatasetOptions& options) {
  absl::StatusOr<std::vector<std::string>> archives = ExpandBraces(path);
  if (!archives.ok()) return Annotate(archives.status(), path);
  std::vector<std::string> missing;
  for (const std::string& archive : *archives) {
    if (!IsArchiveName(archive)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": braces are for archives, names that end in .tar or .zip; name other files in a list"));
    }
    if (!IsFile(archive)) missing.push_back(archive);
  }
  if (!missing.empty()) {
    return absl::NotFoundError(absl::StrCat(missing.size(), " of the ", archives->size(), " archives of ", path,
                                            " are not there: ", missing.front(), missing.size() > 1 ? ", ..." : ""));
  }
  // Names are relative to the folder of the first, where the others are, too, unless a folder is what varies.
  const std::string folder = FolderOf(archives->front());
  std::vector<std::string> names;
  for (const std::string& archive : *archives) {
    names.push_back(FolderOf(archive) == folder ? archive.substr(archive.rfind('/') + 1)
                                                : std::filesystem::absolute(archive).string());
  }
  return OpenIndexed(
      absl::StrCat(folder, "/", names.front()), folder, absl::StrCat(" ", path), options,
      [&](Scan* scan) { return CatalogueArchives(folder, std::move(names), Split::kWhole, options.labels, scan); });
}

// Whether path/train is one part of a data set rather than a class called "train". Every start asks, also one with an
// index: nothing is sorted, and a large train/ is looked at only where folders that are no parts lie beside it.
absl::StatusOr<bool> TrainIsASplit(const std::string& path) {
  if (!IsFolder(absl::StrCat(path, "/train"))) return false;
  bool another = false;
  TEC_RETURN_IF_ERROR(ForEachEntry(path, nullptr, [&](absl::string_view name, bool folder) {
    another = folder && name != "train" && name != "val" && name != "valid" && name != "validation" && name != "test" &&
              LitterOf(name, folder).empty();
    return !another;
  }));
  if (!another) return true;
  bool folders = false, pictures = false;
  TEC_RETURN_IF_ERROR(ForEachEntry(absl::StrCat(path, "/train"), nullptr, [&](absl::string_view name, bool folder) {
    if (!LitterOf(name, folder).empty()) return true;
    folders = folder;
    pictures = pictures || IsPictureName(name, /*as_image_folder=*/true);
    return !folders;
  }));
  return folders || !pictures;
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenFile(const std::string& path, Split split, const DatasetOptions& options) {
  if (IsPictureName(path, /*as_image_folder=*/false)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is a picture: a data set is a folder of pictures or a list file of their paths"));
  }
  if (IsArchiveName(path)) return OpenArchive(path, split, options);
  if (IsPackName(path)) return OpenPack(path, options);
  return OpenList(path, split, options);
}

// Directly.
bool HoldsArchives(const std::string& path) {
  bool found = false;
  const absl::Status status = ForEachEntry(path, nullptr, [&found](const char* name, bool folder) {
    found = !folder && IsArchiveName(name) && LitterOf(name, folder).empty();
    return !found;
  });
  return status.ok() && found;
}

// The file that holds the part `name` of the data set `path`; empty: there is none.
std::string FileOfPart(const std::string& path, const char* name) {
  for (const char* suffix : kPartSuffixes) {
    std::string file = absl::StrCat(path, "/", name, suffix);
    if (!IsFile(file)) continue;
    // It may not be what the user thinks of who gave a folder.
    TEC_LOG(INFO) << "the pictures of " << path << ": " << file;
    return file;
  }
  return "";
}

// "train.tecpack, train.tar, ...".
std::string FilesOfPart(const char* name) {
  return absl::StrJoin(kPartSuffixes, ", ",
                       [name](std::string* out, const char* suffix) { absl::StrAppend(out, name, suffix); });
}

absl::StatusOr<std::unique_ptr<Dataset>> Open(const std::string& path_as_given, Split split,
                                              const DatasetOptions& options) {
  std::string path = path_as_given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) return absl::InvalidArgumentError("the data set's path is empty");
  const std::string held_out_files = absl::StrCat(FilesOfPart("val"), ", ", FilesOfPart("test"));
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG) {
      return ErrnoToStatus(errno, "open the data set", path);
    }
    if (const std::string what = ForeignAddress(path_as_given); !what.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path_as_given, " is ", what));
    }
    if (split != Split::kHeldOut && absl::StrContains(path, '{')) return OpenBraces(path, options);
    return absl::NotFoundError(absl::StrCat("no data set at ", path, ": looked for a folder with ",
                                            split == Split::kHeldOut ? absl::StrCat("val/ or test/, ", held_out_files)
                                                                     : absl::StrCat("train/, ", FilesOfPart("train")),
                                            ", a folder of class folders, a folder of pictures, or a list file"));
  }
  if (!S_ISDIR(info.st_mode)) {
    const bool may_have_parts = S_ISREG(info.st_mode) && !IsPackName(path) && !IsPictureName(path, false);
    if (split == Split::kHeldOut && !may_have_parts) {
      return absl::NotFoundError(
          absl::StrCat(path, " is a file: held-out pictures need a folder with one of val/, test/, ", held_out_files));
    }
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is neither a folder nor a list file"));
    }
    return OpenFile(path, split, options);
  }
  switch (split) {
    case Split::kTrain: {
      TEC_ASSIGN_OR_RETURN(const bool split_folder, TrainIsASplit(path));
      if (split_folder) return OpenFolder(absl::StrCat(path, "/train"), "", Split::kWhole, options);
      const std::string file = FileOfPart(path, "train");
      if (!file.empty()) return OpenFile(file, Split::kWhole, options);
      return OpenFolder(path, absl::StrCat("a folder train/, ", FilesOfPart("train"), ", "), split, options);
    }
    case Split::kHeldOut:
      for (const char* name : {"val", "test"}) {
        const std::string folder = absl::StrCat(path, "/", name);
        if (IsFolder(folder)) return OpenFolder(folder, "", Split::kWhole, options);
        const std::string file = FileOfPart(path, name);
        if (!file.empty()) return OpenFile(file, Split::kWhole, options);
      }
      if (HoldsArchives(path)) return OpenFolder(path, "", split, options);
      return absl::NotFoundError(
          absl::StrCat("no held-out pictures in ", path, ": looked for folders val/ and test/, ", held_out_files));
    case Split::kWhole:
      break;
  }
  return OpenFolder(path, "", split, options);
}

}  // namespace

std::string LabelsOf(const Dataset& dataset) {
  const std::string why = dataset.why_unlabelled();
  return absl::StrCat("one folder a class, or a list with labels", why.empty() ? "" : "; here ", why);
}

std::vector<std::string> ParseExclude(absl::string_view globs) {
  return absl::StrSplit(globs, ',', absl::SkipWhitespace());
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenDataset(const std::string& path, Split split,
                                                     const DatasetOptions& options) {
  absl::StatusOr<std::unique_ptr<Dataset>> dataset = Open(path, split, options);
  // Names from the disk are in the messages.
  if (!dataset.ok()) return absl::Status(dataset.status().code(), Printable(dataset.status().message()));
  return dataset;
}

}  // namespace tec
