#include "data/dataset/archives.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <unordered_map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/dataset/archive_labels.h"
#include "data/dataset/foreign.h"
#include "data/dataset/names.h"
#include "data/dataset/read_file.h"
#include "data/dataset/samples.h"
#include "data/dataset/tar.h"
#include "data/dataset/zip_directory.h"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/base/system_error.h"

namespace tec {
namespace {

using Take = std::function<absl::Status(const ArchiveMember&)>;

std::string FullPath(const std::string& folder, const std::string& path) {
  return absl::StartsWith(path, "/") ? path : absl::StrCat(folder, "/", path);
}

// One open archive. `failure` collects what the system could not do; other errors are defects of the data.
class OpenArchive {
 public:
  OpenArchive(std::string path, int fd, uint64_t size, Scan* scan)
      : path_(std::move(path)), file_(fd), size_(size), scan_(scan) {}

  const absl::Status& failure() const { return failure_; }

  absl::Status Read(uint64_t offset, size_t count, char* out) {
    return Noted(ReadRange(file_.fd, path_, offset, count, out));
  }

  absl::Status ReadMember(const ArchiveMember& member, std::string* content) {
    if (member.packed == Catalogue::kPlain) {
      content->resize(member.size);
      return Read(member.begin, member.size, content->data());
    }
    return Noted(ReadZipEntry(file_.fd, path_,
                              {member.begin, member.packed & ~Catalogue::kDeflated, member.size, member.checksum,
                               (member.packed & Catalogue::kDeflated) != 0},
                              content));
  }

  // Calls `take` for the members of a tar of `size` bytes at `begin`; `prefix` comes before their names.
  absl::Status ForEachOfTar(uint64_t begin, uint64_t size, const std::string& prefix, const Take& take, int depth = 0) {
    const auto read_at = [&](uint64_t offset, size_t count, char* out) { return Read(begin + offset, count, out); };
    if (size == 0) return absl::DataLossError("the file is empty");
    TarReader reader(read_at, size);
    std::unordered_map<std::string, TarMember> targets;  // Every member by its name, once a link asks for one.
    TarMember member;
    absl::Status status;
    while (status.ok()) {
      const absl::StatusOr<bool> more = reader.Next(&member);
      status = more.status();
      if (!status.ok() || !*more) break;
      if (member.is_link && (IsTarName(member.name) || IsOfSample(member.name))) {
        if (targets.empty()) targets = MembersByName(read_at, size);
        std::string name = std::move(member.name);
        const TarMember* const found = Follow(&member, targets);
        if (found == nullptr) {
          scan_->PassOver("links to nothing");
          continue;
        }
        member.begin = found->begin;
        member.size = found->size;
        member.name = std::move(name);
      } else if (member.is_link) {
        scan_->PassOver(kToOthers);
        continue;
      }
      const std::string name = absl::StrCat(prefix, member.name);
      constexpr int kMostDepth = 2;  // ImageNet's archive of archives, and one around it.
      if ((IsTarName(name) && depth == kMostDepth) || IsZipName(name) || IsPackedArchiveName(name)) {
        if (!LeavesOut(name)) scan_->PassOver(absl::StrCat(SuffixOf(name), " in an archive, not opened: unpack it"));
        continue;
      }
      if (IsTarName(name)) {
        if (LeavesOut(name)) continue;
        bool any = false;
        const auto take_and_tell = [&](const ArchiveMember& one) {
          any = true;
          return take(one);
        };
        status = Annotate(ForEachOfTar(begin + member.begin, member.size,
                                       absl::StrCat(name.substr(0, name.size() - 4), "/"), take_and_tell, depth + 1),
                          Printable(name));
        if (status.ok() && !any) scan_->PassOver("archives in an archive without a file in them");
        // A defect of an archive inside ends that one alone.
        if (!status.ok() && failure_.ok()) {
          inner_defects_.push_back(std::string(status.message()));
          status = absl::OkStatus();
        }
        continue;
      }
      if (!LeavesOut(name)) status = take({name, begin + member.begin, member.size, Catalogue::kPlain});
    }
    for (const auto& [what, count] : reader.passed_over()) {
      for (int64_t i = 0; i < count; ++i) scan_->PassOver(what);
    }
    return status;
  }

  // The members of a zip, sorted by their names, as its directory need not be.
  absl::Status ForEachOfZip(const Take& take) {
    const auto read_at = [this](uint64_t offset, size_t count, char* out) { return Read(offset, count, out); };
    TEC_ASSIGN_OR_RETURN(ZipDirectory directory, ZipDirectory::Open(read_at, size_));
    std::vector<ArchiveMember> members;
    std::vector<ArchiveMember> links;
    ZipMember member;
    absl::Status status;
    while (true) {
      const absl::StatusOr<bool> more = directory.Next(&member);
      status = more.status();
      if (!status.ok() || !*more) break;
      std::string name = TarReader::CleanName(member.name);
      if (name.empty() || LeavesOut(name)) continue;
      if (IsTarName(name) || IsZipName(name) || IsPackedArchiveName(name)) {
        scan_->PassOver("archives in a zip, which are not opened: unpack the zip");
        continue;
      }
      const bool is_link = member.obstacle == "links";
      if (!member.obstacle.empty() && !is_link) {
        scan_->PassOver(member.obstacle);
        continue;
      }
      std::vector<ArchiveMember>& kind = is_link ? links : members;
      kind.push_back({std::move(name), member.begin, member.size,
                      member.stored | (member.deflated ? Catalogue::kDeflated : 0), member.checksum});
    }
    AddLinks(links, &members);
    TEC_RETURN_IF_ERROR(failure_);
    std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    for (const ArchiveMember& one : members) TEC_RETURN_IF_ERROR(take(one));
    return status;
  }

  absl::Status ForEach(const Take& take) {
    return IsZipName(path_) ? ForEachOfZip(take) : ForEachOfTar(0, size_, "", take);
  }

  const std::vector<std::string>& inner_defects() const { return inner_defects_; }

 private:
  static constexpr char kToOthers[] = "links to folders or to files that are no pictures";

  // `status`, kept if it is of the system: that the archive has become shorter is, too.
  absl::Status Noted(absl::Status status) {
    if (!status.ok() && (!absl::IsDataLoss(status) || ErrnoOf(status) != 0)) failure_.Update(status);
    return status;
  }

  // What a link of a zip stands for, and what else it holds.
  struct ZipTarget {
    bool is_link = false;
    std::string target;
    const ArchiveMember* member = nullptr;
  };

  // A name that a sample's parts have.
  static bool IsOfSample(const std::string& name) {
    return IsPictureName(name, false) || absl::EndsWith(name, ".cls") || absl::EndsWith(name, ".json");
  }

  // What a link, or a link to a link, stands for in the end; null without anything.
  template <typename Member>
  static const Member* Follow(const Member* member, const std::unordered_map<std::string, Member>& by_name) {
    constexpr int kMostLinks = 40;  // The system's own limit.
    for (int hops = 0; member->is_link; ++hops) {
      const auto target = by_name.find(member->target);
      if (target == by_name.end() || hops == kMostLinks) return nullptr;
      member = &target->second;
    }
    return member;
  }

  // Adds to a zip's members those that its links stand for, under the links' names.
  void AddLinks(const std::vector<ArchiveMember>& links, std::vector<ArchiveMember>* members) {
    if (links.empty()) return;
    std::unordered_map<std::string, ZipTarget> by_name;
    for (const ArchiveMember& member : *members) by_name[member.name] = {false, "", &member};
    for (const ArchiveMember& link : links) {
      constexpr uint64_t kLongest = 4096;  // PATH_MAX, with its zero.
      std::string text;
      if (link.size < kLongest && ReadMember(link, &text).ok()) {
        const std::filesystem::path target = std::filesystem::path(link.name).parent_path() / text;
        by_name[link.name] = {true, TarReader::CleanName(target.lexically_normal().native()), nullptr};
      }
    }
    std::vector<ArchiveMember> found;
    for (const ArchiveMember& link : links) {
      const auto start = by_name.find(link.name);
      if (!IsOfSample(link.name)) {
        scan_->PassOver(kToOthers);
      } else if (start == by_name.end()) {
        scan_->PassOver("damaged links");
      } else if (const ZipTarget* const target = Follow(&start->second, by_name); target == nullptr) {
        scan_->PassOver("links to what is not there or left out");
      } else {
        found.push_back(*target->member);
        found.back().name = link.name;
      }
    }
    members->insert(members->end(), found.begin(), found.end());
  }

  static std::unordered_map<std::string, TarMember> MembersByName(const TarReader::ReadAt& read_at, uint64_t size) {
    std::unordered_map<std::string, TarMember> members;
    TarReader reader(read_at, size);
    for (TarMember member;;) {
      const absl::StatusOr<bool> more = reader.Next(&member);
      if (!more.ok() || !*more) return members;
      members[member.name] = member;  // The last one of a name is what is unpacked.
    }
  }

  // Whether it, or a folder that it lies in, is litter or excluded.
  bool LeavesOut(const std::string& name) {
    size_t begin = 0;
    for (size_t slash; (slash = name.find('/', begin)) != std::string::npos; begin = slash + 1) {
      if (scan_->LeavesOut(name.substr(0, slash), absl::string_view(name).substr(begin, slash - begin), true)) {
        return true;
      }
    }
    return scan_->LeavesOut(name, absl::string_view(name).substr(begin), false);
  }

  const std::string path_;
  const OpenedFile file_;
  const uint64_t size_;
  Scan* const scan_;
  absl::Status failure_;
  std::vector<std::string> inner_defects_;
};

// What is counted over all archives.
struct Counts {
  int64_t unlabelled = 0;     // Pictures that differ from the first one in having a label or not.
  int64_t lonely_labels = 0;  // Labels without a picture beside them.
  std::string odd_label;      // The first that is no number.
};

// Adds the pictures of one archive.
absl::Status AddArchive(const std::string& folder, uint32_t number, bool labels, Scan* scan, Catalogue* catalogue,
                        Counts* counts) {
  const std::string& name = catalogue->containers[number];
  const std::string path = FullPath(folder, name);
  const int fd = OpenForReading(path);
  if (fd < 0) return ErrnoToStatus(errno, "open", path);
  struct stat info;
  const bool known = fstat(fd, &info) == 0;
  OpenArchive archive(path, fd, known ? info.st_size : 0, scan);
  if (!known) return ErrnoToStatus(errno, "stat", path);
  scan->Depend(path, info);
  const auto add_defect = [&](absl::string_view what) {
    catalogue->defects.push_back(absl::StrCat(Printable(name), ": ", what));
  };
  if (!S_ISREG(info.st_mode)) {
    add_defect("not a regular file");
    return absl::OkStatus();
  }
  int64_t added = 0;
  SampleGrouper grouper(
      labels, scan,
      [&](const ArchiveMember& member, std::string* content) { return archive.ReadMember(member, content); },
      [&](const ArchiveMember& picture, int32_t label) {
        // Labels are all or none: which, the first picture says; what does not fit is counted.
        if (catalogue->size() > 0 && (label >= 0) == catalogue->labels.empty()) {
          ++counts->unlabelled;
          return;
        }
        catalogue->AddRecord(picture.name, label, number, picture.begin, picture.size, picture.packed,
                             picture.checksum);
        ++added;
      });
  const absl::Status defect = archive.ForEach([&](const ArchiveMember& member) { return grouper.Add(member); });
  TEC_RETURN_IF_ERROR(archive.failure());
  grouper.Finish(!defect.ok() && !catalogue->labels.empty());
  if (!defect.ok()) {
    char head[1024];
    const size_t count = std::min<uint64_t>(sizeof(head), info.st_size);
    const bool has_head = added == 0 && ReadRange(fd, path, 0, count, head).ok();
    // Of another kind than its name says?
    const absl::string_view start(head, has_head ? count : 0);
    const bool own =
        IsZipName(path) ? absl::StartsWith(start, "PK") : start.size() > 262 && start.substr(257, 5) == "ustar";
    const std::string foreign = own ? "" : ForeignContainer(start, "");
    add_defect(foreign.empty() ? std::string(defect.message()) : absl::StrCat("it is ", foreign));
  }
  for (const std::string& inner : archive.inner_defects()) add_defect(inner);
  if (const std::string labels_lost = grouper.DamagedLabels(); !labels_lost.empty()) add_defect(labels_lost);
  counts->lonely_labels += grouper.lonely_labels();
  if (counts->odd_label.empty()) counts->odd_label = grouper.odd_label();
  scan->Count(added);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Catalogue> CatalogueArchives(const std::string& folder, std::vector<std::string> archives, Split split,
                                            bool labels, Scan* scan) {
  Catalogue catalogue;
  catalogue.containers = std::move(archives);
  Counts counts;
  for (uint32_t i = 0; i < catalogue.containers.size(); ++i) {
    TEC_RETURN_IF_ERROR(AddArchive(folder, i, labels, scan, &catalogue, &counts));
  }
  const std::vector<std::string>& defects = catalogue.defects;
  const std::string where = catalogue.containers.size() == 1 ? FullPath(folder, catalogue.containers[0]) : folder;
  if (catalogue.size() == 0) {
    Catalogue seen;
    scan->Report(&seen);
    std::vector<std::string> said = defects;
    said.insert(said.end(), seen.warnings.begin(), seen.warnings.end());
    if (!seen.left_out.empty()) said.push_back(seen.left_out);
    return absl::NotFoundError(
        absl::StrCat("no pictures in the archives of ", where, said.empty() ? "" : ": ", absl::StrJoin(said, "; ")));
  }
  if (counts.lonely_labels > 0 && (counts.unlabelled > 0 || catalogue.labels.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(
        counts.lonely_labels, " labels (.cls, .json) in ", where,
        " do not stand beside their picture: members of one sample must follow one another, as in archives written "
        "with tar --sort=name"));
  }
  if (labels && !counts.odd_label.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("labels in the archives of ", where,
                                                   " are no whole numbers from 0: ", counts.odd_label,
                                                   "; classes by name are to be folders in the archives"));
  }
  if (counts.unlabelled > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        counts.unlabelled, " of ", catalogue.size() + counts.unlabelled, " pictures in the archives of ", folder,
        catalogue.labels.empty() ? " have a label, the others none"
                                 : " have no label (a .cls, or \"label\" in a .json)",
        ": all need one, or none"));
  }
  TEC_RETURN_IF_ERROR(SelectPart(where, split, &catalogue));
  if (!labels) return catalogue;
  if (catalogue.labels.empty()) {
    TEC_RETURN_IF_ERROR(Annotate(LabelByNames(&catalogue), where));
    return catalogue;
  }
  const int32_t largest = *std::max_element(catalogue.labels.begin(), catalogue.labels.end());
  TEC_RETURN_IF_ERROR(Annotate(CheckLargestLabel(largest, catalogue.size()), where));
  for (int32_t i = 0; i <= largest; ++i) catalogue.classes.push_back(absl::StrCat(i));
  if (std::string empty = EmptyClasses(catalogue); !empty.empty()) catalogue.warnings.push_back(std::move(empty));
  return catalogue;
}

}  // namespace tec
