#include "tools/weights/describe_file.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/value.h"

namespace tec {
namespace {

// Of the values of a file: more is no help to anybody.
constexpr size_t kMaxText = 200, kMaxLines = 500;
constexpr int kMaxLevels = 3;

struct Contents {
  std::string container;
  std::vector<std::string> entries;  // Of the top level, beside the tensors.
  StateDict tensors;                 // By path.
};

// A name out of a file, where it is told.
std::string Name(absl::string_view text) {
  if (text.size() <= kMaxText) return Printable(text);
  return absl::StrCat(Printable(text.substr(0, kMaxText)), "... (", text.size(), " bytes)");
}

std::string KeyText(const Value& key) {
  return key.kind() == Value::Kind::kString ? Name(key.text())
         : key.kind() == Value::Kind::kInt  ? absl::StrCat(key.int_value())
                                            : Name(key.Describe());
}

// "" for what is not one value.
std::string ScalarText(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::kNone:
      return "None";
    case Value::Kind::kBool:
      return value.bool_value() ? "True" : "False";
    case Value::Kind::kInt:
      return absl::StrCat(value.int_value());
    case Value::Kind::kDouble:
      return absl::StrCat(value.double_value());
    case Value::Kind::kString:
      return absl::StrCat("\"", Printable(value.text().substr(0, kMaxText)),
                          value.text().size() > kMaxText ? "...\"" : "\"");
    default:
      return "";
  }
}

bool HoldsTensors(const Value& value, int depth = 0) {
  if (value.kind() == Value::Kind::kTensor || depth > kMaxLevels) return true;
  if (value.kind() == Value::Kind::kList || value.kind() == Value::Kind::kTuple) {
    return std::any_of(value.items().begin(), value.items().end(),
                       [depth](const Value& item) { return HoldsTensors(item, depth + 1); });
  }
  if (!value.is_dict() && value.kind() != Value::Kind::kObject) return false;
  return std::any_of(value.entries().begin(), value.entries().end(),
                     [depth](const auto& entry) { return HoldsTensors(entry.second, depth + 1); });
}

// A line of an entry, and those of the values in it, if there are no tensors among them.
void AddEntry(const std::string& name, const Value& value, int level, std::vector<std::string>* lines) {
  const std::string indent(2 * level, ' '), scalar = ScalarText(value);
  if (value.kind() == Value::Kind::kString && absl::StrContains(value.text(), '\n')) {
    // An experiment, for instance.
    lines->push_back(absl::StrCat(indent, name, ": ", value.Describe()));
    size_t count = 0;
    for (absl::string_view line : absl::StrSplit(value.text(), '\n')) {
      if (++count > kMaxLines) break;
      lines->push_back(absl::StrCat(indent, "  ", Printable(line.substr(0, kMaxText))));
    }
    return;
  }
  if (!scalar.empty()) {
    lines->push_back(absl::StrCat(indent, name, ": ", scalar));
    return;
  }
  if ((value.kind() == Value::Kind::kList || value.kind() == Value::Kind::kTuple) && value.items().size() <= 8) {
    std::vector<std::string> items;
    for (const Value& item : value.items()) items.push_back(ScalarText(item));
    if (std::find(items.begin(), items.end(), "") == items.end()) {
      lines->push_back(absl::StrCat(indent, name, ": [", absl::StrJoin(items, ", "), "]"));
      return;
    }
  }
  lines->push_back(absl::StrCat(indent, name, ": ", Name(value.Describe())));
  if ((!value.is_dict() && value.kind() != Value::Kind::kObject) || level == kMaxLevels || HoldsTensors(value)) return;
  size_t count = 0;
  for (const auto& [key, item] : value.entries()) {
    if (++count > kMaxLines) {
      lines->push_back(absl::StrCat(indent, "  ..."));
      break;
    }
    AddEntry(KeyText(key), item, level + 1, lines);
  }
}

absl::StatusOr<Contents> ReadContents(const std::string& path) {
  Contents contents;
  const absl::StatusOr<Value> root = ReadPth(path);
  if (!root.ok()) {
    // No .pth, or a broken one: ReadStateDict knows the other containers, and whose message a broken file gets.
    absl::StatusOr<StateDictFile> file = ReadStateDict(path);
    if (!file.ok()) return file.status();
    contents.container = file->container;
    contents.tensors = std::move(file->tensors);
    return contents;
  }
  TEC_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(path));
  contents.container = absl::StartsWith(mapped->bytes(), "PK") ? "zip .pth" : "legacy .pth";
  if (root->is_dict()) {
    for (const auto& [key, value] : root->entries()) {
      if (value.kind() != Value::Kind::kTensor) AddEntry(KeyText(key), value, 0, &contents.entries);
    }
  }
  TEC_ASSIGN_OR_RETURN(contents.tensors, FlattenTensors(*root));
  return contents;
}

std::string Statistics(const TensorView& tensor) {
  double sum = 0, squares = 0, least = std::numeric_limits<double>::infinity(), most = -least;
  int64_t not_finite = 0, count = 0;
  for (float value : FloatsOf(tensor)) {
    if (!std::isfinite(value)) {
      ++not_finite;
      continue;
    }
    ++count;
    sum += value;
    squares += static_cast<double>(value) * value;
    least = std::min<double>(least, value);
    most = std::max<double>(most, value);
  }
  std::string text;
  if (count > 0) {
    const double mean = sum / count;
    text = absl::StrFormat("mean %.4g, std %.4g, from %.4g to %.4g", mean,
                           std::sqrt(std::max(0.0, squares / count - mean * mean)), least, most);
  }
  if (not_finite > 0) absl::StrAppend(&text, text.empty() ? "" : ", ", not_finite, " NOT FINITE");
  return text.empty() ? "empty" : text;
}

// "model/" or "state_dict/" if a tensor is below it.
std::string ModelLevel(const StateDict& tensors) {
  for (const char* level : {"model/", "state_dict/"}) {
    for (const auto& [name, tensor] : tensors) {
      if (absl::StartsWith(name, level)) return level;
    }
  }
  return "";
}

// The tensor of `tensors`, whose model is below `level`, that is `name` of a file whose model is below `other_level`.
const TensorView* TwinOf(absl::string_view name, absl::string_view other_level, const StateDict& tensors,
                         const std::string& level) {
  return absl::ConsumePrefix(&name, other_level) ? tensors.Find(absl::StrCat(level, name)) : nullptr;
}

// How two tensors of one shape differ.
std::string ElementDifference(const TensorView& a, const TensorView& b) {
  const std::vector<double> x = DoublesOf(a), y = DoublesOf(b);
  double largest = 0, size = 0;
  int64_t count = 0, one_nan = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) || std::isnan(y[i])) {
      one_nan += std::isnan(x[i]) != std::isnan(y[i]);
    } else if (x[i] != y[i]) {
      ++count;
      largest = std::max(largest, std::abs(x[i] - y[i]));
      size = std::max({size, std::abs(x[i]), std::abs(y[i])});
    }
  }
  std::string text =
      absl::StrFormat("%d of %d elements differ, by %.3g at most (values up to %.3g)", count, x.size(), largest, size);
  if (one_nan > 0) absl::StrAppend(&text, ", ", one_nan, " NaN on one side");
  if (a.dtype != b.dtype) absl::StrAppend(&text, ", ", DTypeName(a.dtype), " and ", DTypeName(b.dtype));
  return text;
}

}  // namespace

absl::StatusOr<std::string> DescribeFile(const std::string& given_path, const VitRequest& request) {
  TEC_ASSIGN_OR_RETURN(const std::string path, WeightFileIn(given_path));
  TEC_ASSIGN_OR_RETURN(const Contents contents, ReadContents(path));
  TEC_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(path));
  std::string text = absl::StrFormat("%s\n%s, %d bytes, CRC-32 %08x, %d tensors\n", path, contents.container,
                                     mapped->bytes().size(), mapped->Crc32(mapped->bytes()), contents.tensors.size());
  for (const std::string& entry : contents.entries) absl::StrAppend(&text, "  ", entry, "\n");
  int64_t elements = 0;
  for (const auto& [name, tensor] : contents.tensors) {
    elements += tensor.NumElements();
    absl::StrAppend(&text, Name(name), "  ", Describe(tensor), "  ", Statistics(tensor), "\n");
  }
  absl::StrAppend(&text, elements, " elements\n");
  const absl::StatusOr<VitFile> vit = ReadVitFile(path, request);
  if (!vit.ok()) {
    absl::StrAppend(&text, "no base model: ", std::string(vit.status().message()), "\n");
    return text;
  }
  const VitTraits& traits = vit->plan.traits;
  absl::StrAppend(&text, "base model: ", vit->entry.empty() ? "" : absl::StrCat("entry ", vit->entry, ", "),
                  vit->plan.Report(), "\n  width ", traits.width, ", ", traits.depth, " blocks, patches of ",
                  traits.patch_size, " pixels, ", traits.grid, " x ", traits.grid, " patches, MLP ", traits.hidden,
                  traits.channels != 3 ? absl::StrCat(", ", traits.channels, " channels") : "",
                  traits.heads > 0 ? absl::StrCat(", ", traits.heads, " heads") : "",
                  traits.registers > 0 ? absl::StrCat(", ", traits.registers, " registers") : "",
                  traits.rotary.has_value() ? ", rotary positions" : "", traits.class_token ? "" : ", no [CLS]",
                  traits.pool_hidden > 0 ? ", attention pool" : "",
                  traits.final_norm ? ""
                  : traits.no_norm  ? ", no norm after the last block"
                                    : ", no final norm",
                  "\n");
  const std::string teacher = vit->plan.family + "_teacher";
  VitRequest other = request;
  other.family = teacher;
  if (request.family.empty() && FindFamily(teacher) != nullptr && ReadVitFile(path, other).ok()) {
    absl::StrAppend(&text, "  that is the student; --family=", teacher, " takes the teacher, which is there too\n");
  }
  return text;
}

absl::StatusOr<FileDifference> DiffFiles(const std::string& given_a, const std::string& given_b) {
  TEC_ASSIGN_OR_RETURN(const std::string a, WeightFileIn(given_a));
  TEC_ASSIGN_OR_RETURN(const std::string b, WeightFileIn(given_b));
  TEC_ASSIGN_OR_RETURN(const Contents first, ReadContents(a));
  TEC_ASSIGN_OR_RETURN(const Contents second, ReadContents(b));
  std::string level_a = ModelLevel(first.tensors), level_b = ModelLevel(second.tensors);
  if (level_a == level_b) level_a = level_b = "";
  FileDifference difference;
  int same = 0, other = 0, alone = 0;
  for (const auto& [name, tensor] : first.tensors) {
    const TensorView* twin = TwinOf(name, level_a, second.tensors, level_b);
    if (twin == nullptr) {
      ++alone;
      absl::StrAppend(&difference.text, "only in ", a, ": ", Name(name), "  ", Describe(tensor), "\n");
    } else if (BitEqual(tensor, *twin)) {
      ++same;
    } else if (tensor.shape != twin->shape) {
      ++other;
      absl::StrAppend(&difference.text, Name(name), "  ", Describe(tensor), " and ", Describe(*twin), "\n");
    } else {
      ++other;
      absl::StrAppend(&difference.text, Name(name), "  ", Describe(tensor), ": ", ElementDifference(tensor, *twin),
                      "\n");
    }
  }
  for (const auto& [name, tensor] : second.tensors) {
    if (TwinOf(name, level_b, first.tensors, level_a) != nullptr) continue;
    ++alone;
    absl::StrAppend(&difference.text, "only in ", b, ": ", Name(name), "  ", Describe(tensor), "\n");
  }
  absl::StrAppend(&difference.text, same, " tensors are equal bit for bit, ", other, " differ, ", alone,
                  " are in one file only\n");
  difference.equal = other == 0 && alone == 0;
  return difference;
}

}  // namespace tec
