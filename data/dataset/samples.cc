#include "data/dataset/samples.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/names.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/base/system_error.h"

namespace tec {
namespace {

constexpr uint64_t kMaxLabelBytes = 1 << 20;

// Where the first dot of the last part is; npos without one.
size_t FirstDot(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return name.find('.', slash == absl::string_view::npos ? 0 : slash + 1);
}

// Whether it is KEY.jpg rather than KEY.depth.jpg.
bool IsPlain(absl::string_view name) { return FirstDot(name) == name.rfind('.'); }

// The number that a member NAME.cls or NAME.json says is the label; -1: none. `*odd`: what stands in its place.
int32_t LabelOfMember(absl::string_view extension, const std::string& content, std::string* odd) {
  int32_t label = -1;
  if (extension == "cls") {
    if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(content), &label)) label = -1;
    *odd = std::string(absl::StripAsciiWhitespace(content));
  } else {
    const auto json = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
    for (const char* key : {"label", "cls"}) {
      if (json.is_object() && json.contains(key) && json[key].is_number_integer()) {
        const auto value = json[key].get<int64_t>();
        label = value < 0 || value >= kMaxClasses ? -1 : static_cast<int32_t>(value);
        *odd = absl::StrCat(value);
        break;
      }
      if (json.is_object() && json.contains(key) && json[key].is_string()) *odd = json[key].get<std::string>();
    }
  }
  return label < 0 || label >= kMaxClasses ? -1 : label;
}

}  // namespace

absl::Status CheckLargestLabel(int32_t largest, int64_t pictures) {
  // Of the 21,841 classes of ImageNet-21k, say, a few pictures may be a data set.
  constexpr int64_t kAlwaysGood = 100000, kMostAPicture = 100;
  if (largest < kAlwaysGood || largest / kMostAPicture < pictures) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the label ", largest, " among ", pictures,
                                                 " pictures: labels are numbers of classes, from 0, not of pictures"));
}

std::string EmptyClasses(const Catalogue& catalogue) {
  std::vector<bool> seen(catalogue.classes.size());
  for (const int32_t label : catalogue.labels) seen[label] = true;
  const auto missing = std::count(seen.begin(), seen.end(), false);
  if (missing == 0) return "";
  if (missing == 1 && !seen[0]) {
    return "no picture has the label 0, from which labels count, and that class is kept without one: do they count "
           "from 1?";
  }
  constexpr size_t kNamed = 5;
  std::string named;
  size_t count = 0;
  for (size_t i = 0; i < seen.size() && count <= kNamed; ++i) {
    if (!seen[i]) absl::StrAppend(&named, count == 0 ? "" : ", ", count < kNamed ? absl::StrCat(i) : "..."), ++count;
  }
  return absl::StrCat("of the ", seen.size(), " labels up to the largest, ", missing,
                      " have no picture, and are kept as classes without one: ", named);
}

absl::Status SampleGrouper::Add(const ArchiveMember& member) {
  const size_t dot = FirstDot(member.name);
  if (dot == std::string::npos) {
    scan_->LeaveOut("");
    return absl::OkStatus();
  }
  if (member.name.compare(0, dot, key_) != 0 || key_.size() != dot) {
    FinishSample();
    key_ = member.name.substr(0, dot);
  }
  if (IsPictureName(member.name, /*as_image_folder=*/false)) {
    pictures_.push_back(member);
    return absl::OkStatus();
  }
  parts_ = true;
  const std::string extension = absl::AsciiStrToLower(member.name.substr(dot + 1));
  if (extension != "cls" && extension != "json") {
    scan_->LeaveOut(absl::StrCat(".", extension));
    return absl::OkStatus();
  }
  if (!labels_) return absl::OkStatus();
  const std::string name = Printable(member.name);
  std::string content;
  const absl::Status read = member.size <= kMaxLabelBytes
                                ? read_(member, &content)
                                : absl::DataLossError(absl::StrCat(member.size, " bytes are too many for a label"));
  if (absl::IsDataLoss(read) && ErrnoOf(read) == 0) {  // Not an archive that has become shorter.
    damaged_ = absl::StrCat(name, ": ", read.message());
    return absl::OkStatus();
  }
  TEC_RETURN_IF_ERROR(read);
  constexpr size_t kMostShown = 40;
  std::string odd;
  const int32_t label = LabelOfMember(extension, content, &odd);
  if (label >= 0) {
    label_ = label;
  } else if (odd_label_.empty() && (extension == "cls" || !odd.empty())) {  // A .json may say other things.
    odd_label_ = absl::StrCat(name, ": \"", Printable(odd.substr(0, kMostShown)), "\"");
  }
  return absl::OkStatus();
}

void SampleGrouper::AddOne(const std::vector<ArchiveMember>& pictures, size_t taken, int32_t label) {
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (i == taken) {
      add_(pictures[i], label);
    } else {
      scan_->LeaveOutPart(absl::AsciiStrToLower(pictures[i].name.substr(FirstDot(pictures[i].name))));
    }
  }
}

void SampleGrouper::FinishSample() {
  if (!damaged_.empty() && label_ < 0 && !pictures_.empty()) {
    if (damaged_labels_++ == 0) first_damaged_ = damaged_;
    any_sample_ = true;
    pictures_.clear();
  }
  const auto is_plain = [](const ArchiveMember& member) { return IsPlain(member.name); };
  const auto plain = std::find_if(pictures_.begin(), pictures_.end(), is_plain);
  const bool mixed = plain != pictures_.end() && !std::all_of(pictures_.begin(), pictures_.end(), is_plain);
  if (pictures_.empty()) {
    lonely_labels_ += label_ >= 0;
    any_sample_ |= label_ >= 0;
  } else if (pictures_.size() == 1 || parts_ || mixed) {
    any_sample_ |= parts_ || mixed;
    AddOne(pictures_, plain == pictures_.end() ? 0 : plain - pictures_.begin(), label_);
  } else {
    undecided_.push_back(std::move(pictures_));
  }
  pictures_.clear();
  parts_ = false;
  damaged_.clear();
  label_ = -1;
}

std::string SampleGrouper::DamagedLabels() const {
  if (damaged_labels_ == 0) return "";
  return absl::StrCat(first_damaged_, "; pictures left out for such a label: ", damaged_labels_);
}

void SampleGrouper::Finish(bool labels_only) {
  if (labels_only && label_ < 0) pictures_.clear();
  FinishSample();
  for (const std::vector<ArchiveMember>& pictures : undecided_) {
    if (any_sample_) {
      AddOne(pictures, 0, -1);
    } else {
      for (const ArchiveMember& picture : pictures) add_(picture, -1);
    }
  }
  undecided_.clear();
}

}  // namespace tec
