#include "eval/dense/segmentation_data.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/dataset/patient_read.h"
#include "data/dataset/read_file.h"
#include "data/image/index_image.h"
#include "tec/base/file.h"
#include "tec/base/status.h"

namespace tec {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVocClasses[] = {"background", "aeroplane", "bicycle",   "bird",   "boat",        "bottle",
                                       "bus",        "car",       "cat",       "chair",  "cow",         "diningtable",
                                       "dog",        "horse",     "motorbike", "person", "pottedplant", "sheep",
                                       "sofa",       "train",     "tvmonitor"};
constexpr size_t kMostNamed = 3;  // Of many files, in a message.

// Without the mark that editors on Windows put in front of UTF-8.
absl::StatusOr<std::string> ReadText(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  constexpr absl::string_view kUtf8Mark("\xEF\xBB\xBF", 3);
  if (absl::StartsWith(text, kUtf8Mark)) text.erase(0, kUtf8Mark.size());
  return text;
}

// The same of a file that need not be there: empty then.
absl::StatusOr<std::string> ReadTextIfThere(const std::string& path) {
  absl::StatusOr<std::string> text = ReadText(path);
  return absl::IsNotFound(text.status()) ? std::string() : text;
}

bool IsFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}
bool IsThere(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// The first of these folders that is there; empty: none.
std::string FirstFolder(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (IsFolder(path)) return path;
  }
  return "";
}

std::string VocRoot(const std::string& path) {
  for (const char* below : {"", "/VOC2012", "/VOCdevkit/VOC2012"}) {
    if (IsFolder(absl::StrCat(path, below, "/ImageSets/Segmentation"))) return path + below;
  }
  return "";
}

std::string AdeRoot(const std::string& path) {
  for (const char* below : {"", "/ADEChallengeData2016"}) {
    const std::string root = path + below;
    if (IsFolder(root + "/images/training") && IsFolder(root + "/annotations/training")) return root;
  }
  return "";
}

absl::Status CheckMasks(const std::vector<MaskedPictures::Entry>& entries) {
  std::vector<std::string> missing;
  for (const auto& entry : entries) {
    struct stat info;
    if (stat(entry.mask.c_str(), &info) == 0) continue;
    if (errno != ENOENT && errno != ENOTDIR) return ErrnoToStatus(errno, "stat", entry.mask);
    missing.push_back(entry.mask);
  }
  if (missing.empty()) return absl::OkStatus();
  const size_t count = missing.size();
  missing.resize(std::min(count, kMostNamed));
  return absl::NotFoundError(absl::StrCat(count, " of ", entries.size(), " pictures have no mask; missing are ",
                                          absl::StrJoin(missing, ", "), count > kMostNamed ? ", ..." : ""));
}

absl::StatusOr<std::shared_ptr<const MaskedPictures>> OpenVocList(const std::string& root, const std::string& list) {
  const std::string path = absl::StrCat(root, "/ImageSets/Segmentation/", list, ".txt");
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  const std::string augmented = root + "/SegmentationClassAug";
  const std::string masks =
      absl::StrContains(list, "aug") && IsFolder(augmented) ? augmented : root + "/SegmentationClass";
  std::vector<MaskedPictures::Entry> entries;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const absl::string_view name = absl::StripAsciiWhitespace(line);
    if (name.empty()) continue;
    entries.push_back(
        {std::string(name), absl::StrCat(root, "/JPEGImages/", name, ".jpg"), absl::StrCat(masks, "/", name, ".png")});
  }
  if (entries.empty()) return absl::InvalidArgumentError(path + " names no picture");
  TEC_RETURN_IF_ERROR(Annotate(CheckMasks(entries), path));
  return std::make_shared<const MaskedPictures>(std::move(entries));
}

absl::StatusOr<std::shared_ptr<const MaskedPictures>> OpenFolders(const std::string& images, const std::string& masks) {
  DatasetOptions options;
  options.labels = false;
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<Dataset> pictures, OpenDataset(images, Split::kWhole, options));
  std::vector<MaskedPictures::Entry> entries;
  for (int64_t i = 0; i < pictures->size(); ++i) {
    const std::string name = pictures->name(i);
    const std::string mask = fs::path(name).replace_extension(".png").string();
    entries.push_back({name, absl::StrCat(images, "/", name), absl::StrCat(masks, "/", mask)});
  }
  TEC_RETURN_IF_ERROR(CheckMasks(entries));
  return std::make_shared<const MaskedPictures>(std::move(entries));
}

absl::Status OpenVoc(const std::string& path, const std::string& train_list, SegmentationData* data) {
  const std::string root = VocRoot(path);
  if (root.empty()) return absl::NotFoundError(path + ": no ImageSets/Segmentation, as VOC 2012 has it");
  TEC_ASSIGN_OR_RETURN(data->train, OpenVocList(root, train_list));
  TEC_ASSIGN_OR_RETURN(data->held_out, OpenVocList(root, "val"));
  data->ignored = {255};
  data->class_names.assign(std::begin(kVocClasses), std::end(kVocClasses));
  data->numbers = 21;
  return absl::OkStatus();
}

absl::Status OpenAde(const std::string& path, SegmentationData* data) {
  const std::string root = AdeRoot(path);
  if (root.empty()) {
    return absl::NotFoundError(path + ": no images/training and annotations/training, as ADE20K has them");
  }
  TEC_ASSIGN_OR_RETURN(data->train, OpenFolders(root + "/images/training", root + "/annotations/training"));
  TEC_ASSIGN_OR_RETURN(data->held_out, OpenFolders(root + "/images/validation", root + "/annotations/validation"));
  data->ignored = {0, 255};
  data->numbers = 151;
  // A head, then lines of number, three ratios and counts, and the names, apart by tabs.
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadTextIfThere(root + "/objectInfo150.txt"));
  if (!text.empty()) {
    data->class_names = {"other"};
    const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
    for (size_t i = 1; i < lines.size(); ++i) {
      const std::vector<absl::string_view> fields = absl::StrSplit(lines[i], '\t');
      data->class_names.emplace_back(absl::StripAsciiWhitespace(fields.back()));
    }
  }
  return absl::OkStatus();
}

absl::Status OpenAnyFolders(const std::string& path, SegmentationData* data) {
  const auto open = [&path](const std::vector<std::string>& parts,
                            std::shared_ptr<const MaskedPictures>* out) -> absl::Status {
    std::vector<std::string> looked_for;
    for (const std::string& part : parts) {
      const std::string beside = absl::StrCat(path, "/images/", part),
                        within = absl::StrCat(path, "/", part, "/images");
      looked_for.push_back(absl::StrCat("images/", part));
      looked_for.push_back(absl::StrCat(part, "/images"));
      const bool is_within = !IsFolder(beside);
      const std::string images = is_within ? within : beside;
      if (!IsFolder(images)) continue;
      std::vector<std::string> candidates;
      for (const char* name : {"masks", "annotations", "labels"}) {
        candidates.push_back(is_within ? absl::StrCat(path, "/", part, "/", name)
                                       : absl::StrCat(path, "/", name, "/", part));
      }
      const std::string masks = FirstFolder(candidates);
      if (masks.empty()) {
        return absl::NotFoundError(
            absl::StrCat("no masks for ", images, ": none of ", absl::StrJoin(candidates, ", "), " is there"));
      }
      TEC_ASSIGN_OR_RETURN(*out, OpenFolders(images, masks));
      return absl::OkStatus();
    }
    return absl::NotFoundError(absl::StrCat(path, ": none of ", absl::StrJoin(looked_for, ", "), " is there"));
  };
  TEC_RETURN_IF_ERROR(open({"train", "training"}, &data->train));
  TEC_RETURN_IF_ERROR(open({"val", "validation", "test"}, &data->held_out));
  data->ignored = {255};
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadTextIfThere(path + "/classes.txt"));
  if (!text.empty()) {
    for (absl::string_view line : absl::StrSplit(absl::StripTrailingAsciiWhitespace(text), '\n')) {
      data->class_names.emplace_back(absl::StripAsciiWhitespace(line));
    }
    data->numbers = static_cast<int>(data->class_names.size());
  }
  return absl::OkStatus();
}

}  // namespace

MaskedPictures::MaskedPictures(std::vector<Entry> entries) : entries_(std::move(entries)) {}

absl::Status MaskedPictures::Read(int64_t index, std::string* bytes) const {
  return ReadOfFolder(entries_[index].picture, bytes);
}

absl::StatusOr<Image> MaskedPictures::ReadMask(int64_t index) const {
  const std::string& path = entries_[index].mask;
  std::string bytes;
  Image mask;
  TEC_RETURN_IF_ERROR(ReadMaskBytes(index, &bytes));
  TEC_RETURN_IF_ERROR(Annotate(DecodeIndexImage(bytes, &mask), path));
  return mask;
}

absl::Status MaskedPictures::ReadMaskBytes(int64_t index, std::string* bytes) const {
  // With the patience that pictures are read with.
  const MaskedPictures alone({{entries_[index].name, entries_[index].mask, ""}});
  return Annotate(ReadPatiently(alone, 0, bytes), entries_[index].mask);
}

std::shared_ptr<const MaskedPictures> MaskedPictures::Subset(const std::vector<int64_t>& indices) const {
  std::vector<Entry> entries;
  for (const int64_t index : indices) entries.push_back(entries_[index]);
  return std::make_shared<const MaskedPictures>(std::move(entries));
}

std::string SegmentationData::NameOf(int number) const {
  if (static_cast<size_t>(number) >= class_names.size()) return absl::StrCat(number);
  return absl::StrCat(number, " ", class_names[number]);
}

absl::StatusOr<SegmentationData> OpenSegmentationData(const std::string& path, const std::string& layout,
                                                      const std::string& train_list, const std::vector<int>& ignored) {
  if (IsThere(path) && !IsFolder(path)) {
    return absl::InvalidArgumentError(
        path + " is not a folder: pictures and masks must lie in folders; archives must be unpacked");
  }
  SegmentationData data;
  data.layout = layout != "auto"         ? layout
                : !VocRoot(path).empty() ? "voc"
                : !AdeRoot(path).empty() ? "ade20k"
                                         : "folders";
  if (data.layout == "voc") {
    TEC_RETURN_IF_ERROR(OpenVoc(path, train_list, &data));
  } else if (data.layout == "ade20k") {
    TEC_RETURN_IF_ERROR(OpenAde(path, &data));
  } else if (data.layout == "folders") {
    TEC_RETURN_IF_ERROR(OpenAnyFolders(path, &data));
  } else {
    return absl::InvalidArgumentError(absl::StrCat("--layout=", layout, ": it must be auto, voc, ade20k or folders"));
  }
  if (!ignored.empty()) data.ignored = ignored;
  return data;
}

}  // namespace tec
