#include "data/dataset/dataset.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {

absl::StatusOr<std::string> Dataset::Read(int64_t index) const {
  std::string bytes;
  TEC_RETURN_IF_ERROR(Read(index, &bytes));
  return bytes;
}

namespace {

// No picture is larger; a file that is would only fill the memory.
constexpr int64_t kMaxFileBytes = int64_t{1} << 30;
// The search for pictures that are not expected stops there: a loop of links has no end.
constexpr int kMaxSearchDepth = 64;

absl::Status ReadInto(const std::string& path, std::string* bytes) {
  // O_NONBLOCK: a FIFO must not hold us up before fstat unmasks it.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoToStatus(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  if (info.st_size > kMaxFileBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the file has ", info.st_size, " bytes, more than ", kMaxFileBytes));
  }
  bytes->resize(info.st_size);
  size_t done = 0;
  while (done < bytes->size()) {
    const ssize_t count = read(fd, bytes->data() + done, bytes->size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoToStatus(errno, "read", path);
    if (count == 0) break;
    done += count;
  }
  bytes->resize(done);  // Shorter if the file was cut meanwhile; the decoder will say so.
  return absl::OkStatus();
}

// Pictures as files. Names lie one after another in one string; an image costs its name, where that ends and its label.
class FileDataset : public Dataset {
 public:
  FileDataset(std::string folder, std::vector<std::string> classes)
      : folder_(std::move(folder)), classes_(std::move(classes)) {}

  // `name` is the path under the folder (under the class's after set_in_class_folders) or absolute; label -1: none.
  void Add(absl::string_view name, int32_t label) {
    names_.append(name.data(), name.size());
    ends_.push_back(names_.size());
    if (label >= 0) labels_.push_back(label);
  }
  void set_in_class_folders() { in_class_folders_ = true; }
  void set_classes(std::vector<std::string> classes) { classes_ = std::move(classes); }
  void Finish() {
    names_.shrink_to_fit();
    ends_.shrink_to_fit();
    labels_.shrink_to_fit();
    TEC_CHECK(labels_.empty() || labels_.size() == ends_.size());
  }

  int64_t size() const override { return ends_.size(); }
  int32_t label(int64_t index) const override {
    CheckIndex(index);
    return labels_.empty() ? -1 : labels_[index];
  }
  std::string name(int64_t index) const override {
    CheckIndex(index);
    const uint64_t begin = index == 0 ? 0 : ends_[index - 1];
    const absl::string_view name = absl::string_view(names_).substr(begin, ends_[index] - begin);
    return in_class_folders_ ? absl::StrCat(classes_[labels_[index]], "/", name) : std::string(name);
  }
  const std::vector<std::string>& classes() const override { return classes_; }

  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override {
    const std::string path = name(index);
    return ReadInto(path[0] == '/' ? path : absl::StrCat(folder_, "/", path), bytes);
  }

 private:
  void CheckIndex(int64_t index) const { TEC_CHECK(index >= 0 && index < size()) << index << " of " << size(); }

  std::string folder_;
  std::vector<std::string> classes_;
  std::string names_;
  std::vector<uint64_t> ends_;   // Of each name in names_.
  std::vector<int32_t> labels_;  // Empty without labels.
  bool in_class_folders_ = false;
};

bool IsPictureName(absl::string_view name) {
  for (const absl::string_view extension : kPictureExtensions) {
    if (absl::EndsWithIgnoreCase(name, extension)) return true;
  }
  return false;
}

struct Listing {
  std::vector<std::string> files;    // Names of pictures, sorted bytewise.
  std::vector<std::string> folders;  // Names, sorted bytewise.
};

// What `path` holds directly; links are followed, entries that are neither pictures nor folders are left out.
absl::StatusOr<Listing> List(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return ErrnoToStatus(errno, "list the folder", path);
  Listing listing;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN || type == DT_LNK) {
      // A link to nowhere is no folder; a picture's name makes it a picture, which Read() will report.
      struct stat info;
      const bool known = stat(absl::StrCat(path, "/", name).c_str(), &info) == 0;
      type = known && S_ISDIR(info.st_mode) ? DT_DIR : DT_REG;
    }
    if (type == DT_DIR) {
      listing.folders.push_back(name);
    } else if (IsPictureName(name)) {
      listing.files.push_back(name);
    }
    errno = 0;
  }
  const int error = errno;
  closedir(directory);
  if (error != 0) return ErrnoToStatus(error, "list the folder", path);
  std::sort(listing.files.begin(), listing.files.end());
  std::sort(listing.folders.begin(), listing.folders.end());
  return listing;
}

// Appends `below` and every folder under it, as paths under `root`; "" is root itself. `above`: device and inode of the
// folders on the way here.
absl::Status ListTree(const std::string& root, const std::string& below, std::vector<std::pair<dev_t, ino_t>>* above,
                      std::vector<std::string>* folders) {
  const std::string path = below.empty() ? root : absl::StrCat(root, "/", below);
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoToStatus(errno, "list the folder", path);
  const std::pair<dev_t, ino_t> self(info.st_dev, info.st_ino);
  if (std::find(above->begin(), above->end(), self) != above->end()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a link back to a folder that it lies in"));
  }
  above->push_back(self);
  folders->push_back(below);
  TEC_ASSIGN_OR_RETURN(const Listing listing, List(path));
  for (const std::string& name : listing.folders) {
    TEC_RETURN_IF_ERROR(ListTree(root, below.empty() ? name : absl::StrCat(below, "/", name), above, folders));
  }
  above->pop_back();
  return absl::OkStatus();
}

// Adds the pictures of a class in ImageFolder's order: folders by their path, in each its files by name. Returns
// whether there were any.
absl::StatusOr<bool> AddClass(const std::string& path, int32_t label, FileDataset* dataset) {
  std::vector<std::string> folders;
  std::vector<std::pair<dev_t, ino_t>> above;
  TEC_RETURN_IF_ERROR(ListTree(path, "", &above, &folders));
  std::sort(folders.begin(), folders.end());
  bool any = false;
  for (const std::string& folder : folders) {
    TEC_ASSIGN_OR_RETURN(const Listing listing, List(folder.empty() ? path : absl::StrCat(path, "/", folder)));
    for (const std::string& file : listing.files) {
      dataset->Add(folder.empty() ? file : absl::StrCat(folder, "/", file), label);
      any = true;
    }
  }
  return any;
}

// Whether there is a picture anywhere under `path`.
absl::StatusOr<bool> HoldsPictures(const std::string& path, int depth = 0) {
  if (depth > kMaxSearchDepth) return false;
  TEC_ASSIGN_OR_RETURN(const Listing listing, List(path));
  if (!listing.files.empty()) return true;
  for (const std::string& folder : listing.folders) {
    TEC_ASSIGN_OR_RETURN(const bool found, HoldsPictures(absl::StrCat(path, "/", folder), depth + 1));
    if (found) return true;
  }
  return false;
}

std::string Extensions() { return absl::StrJoin(kPictureExtensions, " "); }

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// `looked_for` tells what was tried before `path` was chosen.
absl::StatusOr<std::unique_ptr<Dataset>> OpenFolder(const std::string& path, const std::string& looked_for) {
  TEC_ASSIGN_OR_RETURN(const Listing listing, List(path));
  if (!listing.files.empty()) {
    for (const std::string& folder : listing.folders) {
      TEC_ASSIGN_OR_RETURN(const bool pictures, HoldsPictures(absl::StrCat(path, "/", folder)));
      if (pictures) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, " holds pictures (", listing.files.front(), ") as well as folders of pictures (", folder,
                         "): keep either class folders or a flat folder, or name the pictures in a list file"));
      }
    }
    auto dataset = std::make_unique<FileDataset>(path, std::vector<std::string>());
    for (const std::string& file : listing.files) dataset->Add(file, -1);
    dataset->Finish();
    return dataset;
  }

  auto dataset = std::make_unique<FileDataset>(path, listing.folders);
  dataset->set_in_class_folders();
  std::vector<std::string> empty;
  for (size_t i = 0; i < listing.folders.size(); ++i) {
    TEC_ASSIGN_OR_RETURN(const bool any,
                         AddClass(absl::StrCat(path, "/", listing.folders[i]), static_cast<int32_t>(i), dataset.get()));
    if (!any) empty.push_back(listing.folders[i]);
  }
  if (dataset->size() == 0) {
    return absl::NotFoundError(
        absl::StrCat("no pictures in ", path, ": looked for ", looked_for,
                     "class folders with pictures and for pictures directly in it, files ending in ", Extensions()));
  }
  if (!empty.empty()) {
    constexpr size_t kNamed = 10;
    const size_t named = std::min(empty.size(), kNamed);
    return absl::InvalidArgumentError(absl::StrCat(
        empty.size(), " of ", listing.folders.size(), " class folders of ", path, " without a picture: ",
        absl::StrJoin(empty.begin(), empty.begin() + named, ", "), empty.size() > named ? ", ..." : "",
        "; remove them or fill them, or the labels would shift between data sets (pictures are files ending in ",
        Extensions(), ")"));
  }
  dataset->Finish();
  return dataset;
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenList(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const size_t slash = path.rfind('/');
  auto dataset = std::make_unique<FileDataset>(slash == std::string::npos ? "." : path.substr(0, slash),
                                               std::vector<std::string>());
  // More classes than this are a mistake, such as an index taken for a label.
  constexpr int32_t kMaxClasses = 10000000;
  int32_t largest = -1;
  int64_t line_number = 0, labelled_line = 0, unlabelled_line = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    if (absl::StripAsciiWhitespace(line).empty() || line[0] == '#') continue;
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", line_number, ": ", what));
    };
    if (line.find('\0') != absl::string_view::npos) return error("a zero byte: this is no list of files");

    absl::string_view name = line;
    int32_t label = -1;
    const size_t tab = line.rfind('\t');
    const size_t space = line.rfind(' ');
    if (tab != absl::string_view::npos) {
      name = line.substr(0, tab);
      const absl::string_view field = absl::StripAsciiWhitespace(line.substr(tab + 1));
      if (!absl::SimpleAtoi(field, &label) || label < 0) {
        return error(absl::StrCat("label \"", field, "\" is not a whole number from 0"));
      }
    } else if (space != absl::string_view::npos && space + 1 < line.size() &&
               line.find_first_not_of("0123456789", space + 1) == absl::string_view::npos) {
      name = line.substr(0, space);
      if (!absl::SimpleAtoi(line.substr(space + 1), &label)) return error("the label is too large");
    }
    name = absl::StripAsciiWhitespace(name);
    if (name.empty()) return error("no path before the label");
    if (label >= kMaxClasses) return error(absl::StrCat("label ", label, " is not below ", kMaxClasses));
    (label >= 0 ? labelled_line : unlabelled_line) = line_number;
    if (labelled_line > 0 && unlabelled_line > 0) {
      return error(absl::StrCat("line ", labelled_line, " has a label and line ", unlabelled_line,
                                " has none: all lines need one, or none"));
    }
    largest = std::max(largest, label);
    dataset->Add(name, label);
  }
  if (dataset->size() == 0) {
    return absl::NotFoundError(absl::StrCat("no pictures in ", path, ": looked for a list file, one path a line"));
  }
  std::vector<std::string> classes;
  for (int32_t i = 0; i <= largest; ++i) classes.push_back(absl::StrCat(i));
  dataset->set_classes(std::move(classes));
  dataset->Finish();
  return dataset;
}

// Whether path/train is one part of a data set rather than a class called "train".
absl::StatusOr<bool> TrainIsASplit(const std::string& path) {
  if (!IsFolder(absl::StrCat(path, "/train"))) return false;
  TEC_ASSIGN_OR_RETURN(const Listing train, List(absl::StrCat(path, "/train")));
  if (!train.folders.empty() || train.files.empty()) return true;
  TEC_ASSIGN_OR_RETURN(const Listing beside, List(path));
  for (const std::string& name : beside.folders) {
    if (name != "train" && name != "val" && name != "valid" && name != "validation" && name != "test") return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Dataset>> OpenDataset(const std::string& path_as_given, Split split) {
  std::string path = path_as_given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) return absl::InvalidArgumentError("the data set's path is empty");
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return absl::NotFoundError(absl::StrCat("no data set at ", path, ": looked for a folder with ",
                                              split == Split::kHeldOut ? "val/ or test/" : "train/",
                                              ", a folder of class folders, a folder of pictures, or a list file"));
    }
    return ErrnoToStatus(errno, "open the data set", path);
  }
  if (!S_ISDIR(info.st_mode)) {
    if (split == Split::kHeldOut) {
      return absl::NotFoundError(absl::StrCat(path, " is a file: held-out pictures need a folder with val/ or test/"));
    }
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is neither a folder nor a list file"));
    }
    if (IsPictureName(path)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " is a picture: a data set is a folder of pictures or a list file of their paths"));
    }
    return OpenList(path);
  }
  switch (split) {
    case Split::kTrain: {
      TEC_ASSIGN_OR_RETURN(const bool split_folder, TrainIsASplit(path));
      if (split_folder) return OpenFolder(absl::StrCat(path, "/train"), "");
      return OpenFolder(path, "a folder train/, ");
    }
    case Split::kHeldOut:
      for (const char* name : {"val", "test"}) {
        const std::string folder = absl::StrCat(path, "/", name);
        if (IsFolder(folder)) return OpenFolder(folder, "");
      }
      return absl::NotFoundError(absl::StrCat("no held-out pictures in ", path, ": looked for folders val/ and test/"));
    case Split::kWhole:
      break;
  }
  return OpenFolder(path, "");
}

}  // namespace tec
