#include "data/dataset/dataset.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/pack.h"
#include "data/dataset/tar.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/mapped_file.h"

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

// More classes than this are a mistake, such as an index taken for a label.
constexpr int32_t kMaxClasses = 10000000;
constexpr uint64_t kMaxLabelBytes = 1 << 20;
// Of the files that hold a part of a data set, in the order in which they are looked for.
constexpr const char* kPartSuffixes[] = {".tecpack", ".tar", ".txt"};
// The search for pictures that are not expected stops there: a loop of links has no end.
constexpr int kMaxSearchDepth = 64;

// Bytes [begin, begin + count) of an open file.
absl::Status ReadRange(int fd, const std::string& path, uint64_t begin, uint64_t count, char* out) {
  while (count > 0) {
    const ssize_t got = pread(fd, out, count, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoToStatus(errno, "read", path);
    if (got == 0) return absl::DataLossError(absl::StrCat(path, " has become shorter"));
    out += got;
    begin += got;
    count -= got;
  }
  return absl::OkStatus();
}

// Closes a descriptor.
struct Closer {
  explicit Closer(int descriptor) : fd(descriptor) {}
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;
  ~Closer() {
    if (fd >= 0) close(fd);
  }
  const int fd;
};

absl::Status CheckEncodedSize(uint64_t bytes) {
  if (bytes <= kMaxEncodedBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the encoded image has ", bytes, " bytes, more than ", kMaxEncodedBytes));
}

absl::Status ReadInto(const std::string& path, std::string* bytes) {
  // O_NONBLOCK: a FIFO must not hold us up before fstat unmasks it.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  const Closer closer(fd);
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoToStatus(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  TEC_RETURN_IF_ERROR(CheckEncodedSize(info.st_size));
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

// What a catalogue lists: files of a folder, members of shards, records of a packed file.
class CatalogueDataset : public Dataset {
 public:
  // `folder`: what names and containers are relative to; of a packed file, its path. `pack`: the packed file, if it is
  // one.
  CatalogueDataset(std::string folder, Catalogue catalogue, std::shared_ptr<const MappedFile> pack = nullptr)
      : folder_(std::move(folder)),
        absolute_(std::filesystem::absolute(folder_).lexically_normal()),
        catalogue_(std::move(catalogue)),
        pack_(std::move(pack)) {}

  int64_t size() const override { return catalogue_.size(); }
  int32_t label(int64_t index) const override {
    TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
    return catalogue_.label(index);
  }
  std::string name(int64_t index) const override {
    const absl::string_view name = catalogue_.name(index);
    if (pack_ == nullptr && !catalogue_.containers.empty()) {
      return absl::StrCat(catalogue_.containers[catalogue_.container[index]], "/", name);
    }
    return catalogue_.in_class_folders ? absl::StrCat(catalogue_.classes[catalogue_.labels[index]], "/", name)
                                       : std::string(name);
  }
  std::string file(int64_t index) const override {
    if (pack_ != nullptr) return absolute_;
    const std::string path =
        catalogue_.containers.empty() ? name(index) : catalogue_.containers[catalogue_.container[index]];
    return absolute_ / path;  // `path` itself where it is absolute.
  }
  const std::vector<std::string>& classes() const override { return catalogue_.classes; }
  std::vector<std::string> defects() const override { return catalogue_.defects; }
  std::string left_out() const override { return catalogue_.left_out; }

  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override {
    TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
    if (!catalogue_.containers.empty()) TEC_RETURN_IF_ERROR(CheckEncodedSize(catalogue_.bytes[index]));
    if (pack_ != nullptr) {
      const absl::string_view record = Record(index);
      bytes->assign(record.data(), record.size());
      return absl::OkStatus();
    }
    if (catalogue_.containers.empty()) return ReadInto(PathOf(name(index)), bytes);
    const std::string path = PathOf(catalogue_.containers[catalogue_.container[index]]);
    const Closer file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd < 0) return ErrnoToStatus(errno, "open", path);
    bytes->resize(catalogue_.bytes[index]);
    return ReadRange(file.fd, path, catalogue_.begin[index], bytes->size(), bytes->data());
  }
  absl::StatusOr<absl::string_view> View(int64_t index, std::string* buffer) const override {
    TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
    if (pack_ == nullptr) return Dataset::View(index, buffer);
    return Record(index);
  }

 private:
  // Of a packed file.
  absl::string_view Record(int64_t index) const {
    return pack_->bytes().substr(catalogue_.begin[index], catalogue_.bytes[index]);
  }
  std::string PathOf(const std::string& name) const { return name[0] == '/' ? name : absl::StrCat(folder_, "/", name); }

  const std::string folder_;
  const std::filesystem::path absolute_;
  const Catalogue catalogue_;
  const std::shared_ptr<const MappedFile> pack_;
};

// Says how far a scan has come, every few seconds, and stamps the folders and files that it depends on.
class Scan {
 public:
  explicit Scan(std::string root) : root_(std::move(root)) {}

  void Count(int64_t pictures) {
    pictures_ += pictures;
    const auto now = std::chrono::steady_clock::now();
    if (now - said_ < std::chrono::seconds(5)) return;
    said_ = now;
    TEC_LOG(INFO) << "scanning " << root_ << ": " << pictures_ << " pictures so far";
  }
  // A file that is no picture by its name, which ends in `suffix`.
  void LeaveOut(absl::string_view suffix) {
    constexpr size_t kKept = 100;  // x.0001, x.0002, ... are a name's ends, but no suffixes.
    std::string key = suffix.empty() ? "without a suffix" : absl::AsciiStrToLower(suffix);
    if (left_out_.size() >= kKept && left_out_.count(key) == 0) key = "others";
    ++left_out_[key];
  }
  // As Dataset::left_out() says it; the most frequent first.
  std::string LeftOut() const {
    if (left_out_.empty()) return "";
    std::vector<std::pair<std::string, int64_t>> counts(left_out_.begin(), left_out_.end());
    std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    int64_t files = 0;
    for (const auto& [suffix, count] : counts) files += count;
    constexpr size_t kNamed = 10;
    const bool more = counts.size() > kNamed;
    if (more) counts.resize(kNamed);
    return absl::StrCat(files, files == 1 ? " file" : " files", ", not taken for pictures by their names: ",
                        absl::StrJoin(counts, ", ", absl::PairFormatter(" ")), more ? ", ..." : "");
  }
  void Depend(const std::string& path, const struct stat& info) { stamps_.push_back(StampOf(path, info)); }

  static Stamp StampOf(const std::string& path, const struct stat& info) {
    return Stamp{path, S_ISDIR(info.st_mode) ? 0 : int64_t{info.st_size},
                 int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec};
  }
  const std::vector<Stamp>& stamps() const { return stamps_; }

 private:
  const std::string root_;
  int64_t pictures_ = 0;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
  std::vector<Stamp> stamps_;
  std::map<std::string, int64_t> left_out_;
};

// `as_image_folder`: as torchvision's ImageFolder decides.
bool IsPictureName(absl::string_view name, bool as_image_folder) {
  const auto ends_in = [name](absl::string_view extension) { return absl::EndsWithIgnoreCase(name, extension); };
  return std::any_of(std::begin(kPictureExtensions), std::end(kPictureExtensions), ends_in) ||
         (!as_image_folder &&
          std::any_of(std::begin(kMorePictureExtensions), std::end(kMorePictureExtensions), ends_in));
}

// From its last dot; empty without one.
absl::string_view SuffixOf(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? absl::string_view() : name.substr(dot);
}

bool IsShardName(absl::string_view name) { return absl::EndsWithIgnoreCase(name, ".tar"); }

struct Listing {
  std::vector<std::string> files;    // Names of pictures, sorted bytewise.
  std::vector<std::string> shards;   // Names of tar archives, sorted bytewise.
  std::vector<std::string> folders;  // Names, sorted bytewise.
};

// Calls `take` for what `path` holds directly, in no order, until it returns false. Links are followed.
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

// What `path` holds directly; entries that are neither pictures, shards nor folders are left out. `labels`: as in
// DatasetOptions.
absl::StatusOr<Listing> List(const std::string& path, bool labels, Scan* scan = nullptr) {
  Listing listing;
  TEC_RETURN_IF_ERROR(ForEachEntry(path, scan, [&](const char* name, bool folder) {
    if (folder) {
      listing.folders.push_back(name);
    } else if (IsPictureName(name, labels)) {
      listing.files.push_back(name);
    } else if (IsShardName(name)) {
      listing.shards.push_back(name);
    } else if (scan != nullptr) {
      scan->LeaveOut(SuffixOf(name));
    }
    return true;
  }));
  std::sort(listing.files.begin(), listing.files.end());
  std::sort(listing.shards.begin(), listing.shards.end());
  std::sort(listing.folders.begin(), listing.folders.end());
  if (scan != nullptr) scan->Count(listing.files.size());
  return listing;
}

// A folder of a tree and the pictures directly in it.
struct TreeFolder {
  std::string path;   // Under the tree's root; empty: the root.
  std::string files;  // Their names, sorted, each ended by a zero byte: a string for each would cost twice the memory.
};

// Appends `below` and every folder under it; "" is the root. `above`: device and inode of the folders on the way here.
absl::Status ListTree(const std::string& root, const std::string& below, bool labels, Scan* scan,
                      std::vector<std::pair<dev_t, ino_t>>* above, std::vector<TreeFolder>* folders) {
  const std::string path = below.empty() ? root : absl::StrCat(root, "/", below);
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoToStatus(errno, "list the folder", path);
  const std::pair<dev_t, ino_t> self(info.st_dev, info.st_ino);
  if (std::find(above->begin(), above->end(), self) != above->end()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a link back to a folder that it lies in"));
  }
  above->push_back(self);
  TEC_ASSIGN_OR_RETURN(const Listing listing, List(path, labels, scan));
  TreeFolder folder{below, ""};
  for (const std::string& name : listing.files) folder.files.append(name.c_str(), name.size() + 1);
  folders->push_back(std::move(folder));
  for (const std::string& name : listing.folders) {
    TEC_RETURN_IF_ERROR(
        ListTree(root, below.empty() ? name : absl::StrCat(below, "/", name), labels, scan, above, folders));
  }
  above->pop_back();
  return absl::OkStatus();
}

// Adds the pictures under `path` in ImageFolder's order: folders by their path, in each its files by name; `prefix`
// comes before their paths; label -1: none. Returns whether there were any.
absl::StatusOr<bool> AddTree(const std::string& path, const std::string& prefix, int32_t label, Scan* scan,
                             Catalogue* catalogue) {
  std::vector<TreeFolder> folders;
  std::vector<std::pair<dev_t, ino_t>> above;
  TEC_RETURN_IF_ERROR(ListTree(path, "", label >= 0, scan, &above, &folders));
  std::sort(folders.begin(), folders.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  const int64_t before = catalogue->size();
  for (const TreeFolder& folder : folders) {
    for (size_t i = 0; i < folder.files.size(); i = folder.files.find('\0', i) + 1) {
      catalogue->Add(absl::StrCat(prefix, folder.path, folder.path.empty() ? "" : "/", folder.files.c_str() + i),
                     label);
    }
  }
  return catalogue->size() > before;
}

// Whether there is a picture anywhere under `path`.
absl::StatusOr<bool> HoldsPictures(const std::string& path, bool labels, int depth = 0) {
  if (depth > kMaxSearchDepth) return false;
  TEC_ASSIGN_OR_RETURN(const Listing listing, List(path, labels));
  if (!listing.files.empty()) return true;
  for (const std::string& folder : listing.folders) {
    TEC_ASSIGN_OR_RETURN(const bool found, HoldsPictures(absl::StrCat(path, "/", folder), labels, depth + 1));
    if (found) return true;
  }
  return false;
}

std::string Extensions(bool labels) {
  return absl::StrCat(absl::StrJoin(kPictureExtensions, " "), labels ? "" : " ",
                      labels ? "" : absl::StrJoin(kMorePictureExtensions, " "));
}

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool IsFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

absl::Status NoPictures(const std::string& path, const std::string& looked_for, bool labels) {
  return absl::NotFoundError(
      absl::StrCat("no pictures in ", path, ": looked for ", looked_for,
                   "class folders with pictures, for pictures directly in it and for tar shards, files ending in ",
                   Extensions(labels), " .tar"));
}

// The number that a member NAME.cls or NAME.json says is the label.
absl::StatusOr<int32_t> LabelOfMember(const std::string& extension, const std::string& content) {
  int32_t label = -1;
  if (extension == "cls") {
    if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(content), &label)) label = -1;
  } else {
    const auto json = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
    for (const char* key : {"label", "cls"}) {
      if (json.is_object() && json.contains(key) && json[key].is_number_integer()) {
        const auto value = json[key].get<int64_t>();
        label = value < 0 || value >= kMaxClasses ? -1 : static_cast<int32_t>(value);
        break;
      }
    }
  }
  if (label < 0 || label >= kMaxClasses) return absl::InvalidArgumentError("no label from 0 in it");
  return label;
}

// Adds the samples of one shard: members that follow one another and share their name up to the first dot of its last
// part. `*defect` is the shard's first; what lies before it has been added. Errors are the system's: they may be gone
// at the next start, so that no index may keep what they have left. Without `labels` none are looked for.
absl::Status AddShard(const std::string& folder, uint32_t number, bool labels, Scan* scan, Catalogue* catalogue,
                      int64_t* unlabelled, absl::Status* defect) {
  const std::string path = absl::StrCat(folder, "/", catalogue->containers[number]);
  // O_NONBLOCK: a FIFO must not hold us up.
  const Closer file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) return ErrnoToStatus(errno, "open", path);
  struct stat info;
  if (fstat(file.fd, &info) != 0) return ErrnoToStatus(errno, "stat", path);
  scan->Depend(path, info);
  if (!S_ISREG(info.st_mode)) {
    *defect = absl::InvalidArgumentError("not a regular file");
    return absl::OkStatus();
  }

  std::string key;
  TarMember picture;
  std::string picture_suffix;
  bool plain = false;  // Whether the picture is KEY.jpg rather than KEY.depth.jpg, which says something about it.
  int32_t label = -1;
  int64_t added = 0;
  const auto add = [&] {
    if (picture.name.empty()) {
      // Not a picture's.
    } else if (catalogue->size() > 0 && (label >= 0) == catalogue->labels.empty()) {
      // Labels are all or none: which, the first picture says; what does not fit is counted.
      ++*unlabelled;
    } else {
      catalogue->AddRecord(picture.name, label, number, picture.begin, picture.size);
      ++added;
    }
    picture = TarMember();
    plain = false;
    label = -1;
  };
  absl::Status failure;  // Of the system.
  const auto read_at = [&](uint64_t offset, size_t count, char* out) {
    const absl::Status status = ReadRange(file.fd, path, offset, count, out);
    if (!absl::IsDataLoss(status)) failure.Update(status);
    return status;
  };
  TarReader reader(read_at, info.st_size);
  TarMember member;
  while (true) {
    const absl::StatusOr<bool> more = reader.Next(&member);
    if (!more.ok()) *defect = more.status();
    if (!more.ok() || !*more) break;
    const size_t slash = member.name.rfind('/');
    const size_t dot = member.name.find('.', slash == std::string::npos ? 0 : slash + 1);
    if (dot == std::string::npos) {
      scan->LeaveOut("");
      continue;
    }
    if (member.name.compare(0, dot, key) != 0 || key.size() != dot) {
      add();
      key = member.name.substr(0, dot);
    }
    const std::string extension = absl::AsciiStrToLower(member.name.substr(dot + 1));
    if (IsPictureName(member.name, /*as_image_folder=*/false)) {
      const bool better = !plain && extension.find('.') == std::string::npos;
      if (!picture.name.empty()) scan->LeaveOut(better ? picture_suffix : absl::StrCat(".", extension));
      if (picture.name.empty() || better) {
        picture = member;
        picture_suffix = absl::StrCat(".", extension);
        plain = better;
      }
    } else if (extension != "cls" && extension != "json") {
      scan->LeaveOut(absl::StrCat(".", extension));
    } else if (labels) {
      if (member.size > kMaxLabelBytes) {
        *defect = absl::InvalidArgumentError(absl::StrCat(member.name, " has ", member.size, " bytes"));
        break;
      }
      std::string content(member.size, '\0');
      *defect = read_at(member.begin, content.size(), content.data());
      if (!defect->ok()) break;
      const absl::StatusOr<int32_t> found = LabelOfMember(extension, content);
      if (found.ok()) {
        label = *found;
      } else if (extension == "cls") {  // A .json may say other things.
        *defect = Annotate(found.status(), member.name);
        break;
      }
    }
  }
  TEC_RETURN_IF_ERROR(failure);
  // A sample that the defect has cut off from its label is not one without a label.
  if (defect->ok() || label >= 0 || catalogue->labels.empty()) add();
  scan->Count(added);
  return absl::OkStatus();
}

absl::StatusOr<Catalogue> CatalogueShards(const std::string& folder, std::vector<std::string> shards, bool labels,
                                          Scan* scan) {
  Catalogue catalogue;
  catalogue.containers = std::move(shards);
  std::vector<std::string>& defects = catalogue.defects;
  int64_t unlabelled = 0;
  for (uint32_t i = 0; i < catalogue.containers.size(); ++i) {
    absl::Status defect;
    TEC_RETURN_IF_ERROR(AddShard(folder, i, labels, scan, &catalogue, &unlabelled, &defect));
    if (!defect.ok()) defects.push_back(absl::StrCat(catalogue.containers[i], ": ", defect.message()));
  }
  if (catalogue.size() == 0) {
    return absl::NotFoundError(absl::StrCat("no pictures in the tar shards of ", folder,
                                            defects.empty() ? "" : absl::StrCat(": ", absl::StrJoin(defects, "; "))));
  }
  if (unlabelled > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(unlabelled, " of ", catalogue.size() + unlabelled, " pictures in the shards of ", folder,
                     catalogue.labels.empty() ? " have a label, the others none"
                                              : " have no label (a .cls, or \"label\" in a .json)",
                     ": all need one, or none"));
  }
  const int32_t largest =
      catalogue.labels.empty() ? -1 : *std::max_element(catalogue.labels.begin(), catalogue.labels.end());
  for (int32_t i = 0; i <= largest; ++i) catalogue.classes.push_back(absl::StrCat(i));
  return catalogue;
}

// `looked_for` tells what was tried before `path` was chosen.
absl::StatusOr<Catalogue> CatalogueFolder(const std::string& path, const std::string& looked_for, bool labels,
                                          Scan* scan) {
  TEC_ASSIGN_OR_RETURN(Listing listing, List(path, labels, scan));
  if (!listing.shards.empty()) {
    for (const std::string& folder : listing.folders) {
      TEC_ASSIGN_OR_RETURN(const bool pictures, HoldsPictures(absl::StrCat(path, "/", folder), labels));
      if (pictures) listing.files.push_back(folder);
    }
    if (!listing.files.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, " holds tar shards (", listing.shards.front(),
                                                     ") as well as pictures (", listing.files.front(),
                                                     "): which of them are meant?"));
    }
    return CatalogueShards(path, std::move(listing.shards), labels, scan);
  }
  Catalogue catalogue;
  if (!labels) {
    for (const std::string& file : listing.files) catalogue.Add(file, -1);
    for (const std::string& folder : listing.folders) {
      const absl::StatusOr<bool> any =
          AddTree(absl::StrCat(path, "/", folder), absl::StrCat(folder, "/"), -1, scan, &catalogue);
      TEC_RETURN_IF_ERROR(any.status());
    }
    if (catalogue.size() == 0) return NoPictures(path, looked_for, labels);
    return catalogue;
  }
  if (!listing.files.empty()) {
    for (const std::string& folder : listing.folders) {
      TEC_ASSIGN_OR_RETURN(const bool pictures, HoldsPictures(absl::StrCat(path, "/", folder), labels));
      if (pictures) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, " holds pictures (", listing.files.front(), ") as well as folders of pictures (", folder,
                         "): keep either class folders or a flat folder, or name the pictures in a list file"));
      }
    }
    for (const std::string& file : listing.files) catalogue.Add(file, -1);
    return catalogue;
  }

  catalogue.classes = listing.folders;
  catalogue.in_class_folders = true;
  std::vector<std::string> empty;
  for (size_t i = 0; i < listing.folders.size(); ++i) {
    TEC_ASSIGN_OR_RETURN(const bool any, AddTree(absl::StrCat(path, "/", listing.folders[i]), "",
                                                 static_cast<int32_t>(i), scan, &catalogue));
    if (!any) empty.push_back(listing.folders[i]);
  }
  if (catalogue.size() == 0) return NoPictures(path, looked_for, labels);
  if (!empty.empty()) {
    constexpr size_t kNamed = 10;
    const size_t named = std::min(empty.size(), kNamed);
    return absl::InvalidArgumentError(absl::StrCat(
        empty.size(), " of ", listing.folders.size(), " class folders of ", path, " without a picture: ",
        absl::StrJoin(empty.begin(), empty.begin() + named, ", "), empty.size() > named ? ", ..." : "",
        "; remove them or fill them, or the labels would shift between data sets (pictures are files ending in ",
        Extensions(labels), ")"));
  }
  return catalogue;
}

// Where the index of `path` is kept: a name that depends on all that the catalogue depends on.
std::string IndexPath(const std::string& folder, const std::string& path, bool labels) {
  char* absolute = realpath(path.c_str(), nullptr);
  const std::string key = absl::StrCat(absolute == nullptr ? path : absolute, labels ? "" : " without labels");
  std::free(absolute);
  return absl::StrCat(folder, "/data_set_",
                      absl::Hex(crc32_z(0, reinterpret_cast<const Bytef*>(key.data()), key.size()), absl::kZeroPad8),
                      ".index");
}

// The catalogue in an index, if all that it was made from is as it was then. `path`: as it was first stamped.
absl::StatusOr<Catalogue> ReadIndex(const std::string& index_path, const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(index_path));
  std::vector<Stamp> stamps;
  TEC_ASSIGN_OR_RETURN(Catalogue catalogue, ParseCatalogue(bytes, &stamps));
  // The first is the data set itself; another with the same checksum in its name is no match.
  if (stamps.empty() || stamps.front().path != path || catalogue.size() == 0) {
    return absl::NotFoundError("another data set's index");
  }
  for (const Stamp& stamp : stamps) {
    struct stat info;
    if (stat(stamp.path.c_str(), &info) != 0) return absl::NotFoundError(absl::StrCat(stamp.path, " is gone"));
    const Stamp now = Scan::StampOf(stamp.path, info);
    if (now.bytes != stamp.bytes || now.modified != stamp.modified) {
      return absl::NotFoundError(absl::StrCat(stamp.path, " has changed"));
    }
  }
  return catalogue;
}

void WriteIndex(const std::string& folder, const std::string& index_path, const Catalogue& catalogue,
                const std::vector<Stamp>& stamps) {
  // A folder that was changed a moment ago may change again without its time being another one.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t recent = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() - 2000000000;
  for (const Stamp& stamp : stamps) {
    if (stamp.modified > recent) return;
  }
  // Without it all works, only later.
  absl::Status status = MakeDirectories(folder);
  if (status.ok()) status = WriteFile(index_path, SerializeCatalogue(catalogue, stamps));
  if (!status.ok()) TEC_LOG(WARNING) << "no index of the data set is kept: " << status.message();
}

// The data set `path` from its index, or else from the catalogue that `make` makes, stamping `path` first. `folder`:
// what names are relative to.
absl::StatusOr<std::unique_ptr<Dataset>> OpenIndexed(const std::string& path, const std::string& folder,
                                                     const DatasetOptions& options,
                                                     const std::function<absl::StatusOr<Catalogue>(Scan*)>& make) {
  std::string index_path;
  absl::StatusOr<Catalogue> catalogue = absl::NotFoundError("no index is kept");
  if (!options.index_folder.empty()) {
    index_path = IndexPath(options.index_folder, path, options.labels);
    catalogue = ReadIndex(index_path, path);
  }
  if (!catalogue.ok()) {
    Scan scan(path);
    catalogue = make(&scan);
    TEC_RETURN_IF_ERROR(catalogue.status());
    catalogue->left_out = scan.LeftOut();
    if (!index_path.empty()) WriteIndex(options.index_folder, index_path, *catalogue, scan.stamps());
  }
  for (const std::string& defect : catalogue->defects) {
    TEC_LOG(WARNING) << "broken shard, used up to the defect: " << folder << "/" << defect;
  }
  if (!catalogue->left_out.empty()) TEC_LOG(INFO) << path << ": left out " << catalogue->left_out;
  return std::make_unique<CatalogueDataset>(folder, *std::move(catalogue));
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenFolder(const std::string& path, const std::string& looked_for,
                                                    const DatasetOptions& options) {
  return OpenIndexed(path, path, options,
                     [&](Scan* scan) { return CatalogueFolder(path, looked_for, options.labels, scan); });
}

// A packed file (data/dataset/pack.h).
absl::StatusOr<std::unique_ptr<Dataset>> OpenPack(const std::string& path, const DatasetOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  absl::StatusOr<Catalogue> catalogue = ReadPackCatalogue(file->bytes());
  TEC_RETURN_IF_ERROR(Annotate(catalogue.status(), path));
  if (!options.labels) {
    catalogue->labels.clear();
    catalogue->classes.clear();
  }
  return std::make_unique<CatalogueDataset>(path, *std::move(catalogue), file);
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenShard(const std::string& path, const DatasetOptions& options) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  return OpenIndexed(absl::StrCat(folder, "/", name), folder, options,
                     [&](Scan* scan) { return CatalogueShards(folder, {name}, options.labels, scan); });
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenList(const std::string& path, const DatasetOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const size_t slash = path.rfind('/');
  Catalogue catalogue;
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
    if (options.labels && labelled_line > 0 && unlabelled_line > 0) {
      return error(absl::StrCat("line ", labelled_line, " has a label and line ", unlabelled_line,
                                " has none: all lines need one, or none"));
    }
    largest = std::max(largest, label);
    catalogue.Add(name, options.labels ? label : -1);
  }
  if (catalogue.size() == 0) {
    return absl::NotFoundError(absl::StrCat("no pictures in ", path, ": looked for a list file, one path a line"));
  }
  if (!options.labels) largest = -1;
  for (int32_t i = 0; i <= largest; ++i) catalogue.classes.push_back(absl::StrCat(i));
  return std::make_unique<CatalogueDataset>(slash == std::string::npos ? "." : path.substr(0, slash),
                                            std::move(catalogue));
}

// Whether path/train is one part of a data set rather than a class called "train". Every start asks, also one with an
// index: nothing is sorted, and a large train/ is looked at only where folders that are no parts lie beside it.
absl::StatusOr<bool> TrainIsASplit(const std::string& path) {
  if (!IsFolder(absl::StrCat(path, "/train"))) return false;
  bool another = false;
  TEC_RETURN_IF_ERROR(ForEachEntry(path, nullptr, [&](absl::string_view name, bool folder) {
    another = folder && name != "train" && name != "val" && name != "valid" && name != "validation" && name != "test";
    return !another;
  }));
  if (!another) return true;
  bool folders = false, pictures = false;
  TEC_RETURN_IF_ERROR(ForEachEntry(absl::StrCat(path, "/train"), nullptr, [&](absl::string_view name, bool folder) {
    folders = folder;
    pictures = pictures || IsPictureName(name, /*as_image_folder=*/true);
    return !folders;
  }));
  return folders || !pictures;
}

absl::StatusOr<std::unique_ptr<Dataset>> OpenFile(const std::string& path, const DatasetOptions& options) {
  if (IsPictureName(path, /*as_image_folder=*/false)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is a picture: a data set is a folder of pictures or a list file of their paths"));
  }
  if (IsShardName(path)) return OpenShard(path, options);
  if (IsPackName(path)) return OpenPack(path, options);
  return OpenList(path, options);
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

// "train.tecpack, train.tar, train.txt".
std::string FilesOfPart(const char* name) {
  return absl::StrJoin(kPartSuffixes, ", ",
                       [name](std::string* out, const char* suffix) { absl::StrAppend(out, name, suffix); });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Dataset>> OpenDataset(const std::string& path_as_given, Split split,
                                                     const DatasetOptions& options) {
  std::string path = path_as_given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) return absl::InvalidArgumentError("the data set's path is empty");
  const std::string held_out_files = absl::StrCat(FilesOfPart("val"), ", ", FilesOfPart("test"));
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return absl::NotFoundError(absl::StrCat("no data set at ", path, ": looked for a folder with ",
                                              split == Split::kHeldOut ? absl::StrCat("val/ or test/, ", held_out_files)
                                                                       : absl::StrCat("train/, ", FilesOfPart("train")),
                                              ", a folder of class folders, a folder of pictures, or a list file"));
    }
    return ErrnoToStatus(errno, "open the data set", path);
  }
  if (!S_ISDIR(info.st_mode)) {
    if (split == Split::kHeldOut) {
      return absl::NotFoundError(
          absl::StrCat(path, " is a file: held-out pictures need a folder with one of val/, test/, ", held_out_files));
    }
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is neither a folder nor a list file"));
    }
    return OpenFile(path, options);
  }
  switch (split) {
    case Split::kTrain: {
      TEC_ASSIGN_OR_RETURN(const bool split_folder, TrainIsASplit(path));
      if (split_folder) return OpenFolder(absl::StrCat(path, "/train"), "", options);
      const std::string file = FileOfPart(path, "train");
      if (!file.empty()) return OpenFile(file, options);
      return OpenFolder(path, absl::StrCat("a folder train/, ", FilesOfPart("train"), ", "), options);
    }
    case Split::kHeldOut:
      for (const char* name : {"val", "test"}) {
        const std::string folder = absl::StrCat(path, "/", name);
        if (IsFolder(folder)) return OpenFolder(folder, "", options);
        const std::string file = FileOfPart(path, name);
        if (!file.empty()) return OpenFile(file, options);
      }
      return absl::NotFoundError(
          absl::StrCat("no held-out pictures in ", path, ": looked for folders val/ and test/, ", held_out_files));
    case Split::kWhole:
      break;
  }
  return OpenFolder(path, "", options);
}

}  // namespace tec
