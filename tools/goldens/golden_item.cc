#include "tools/goldens/golden_item.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tec/base/file.h"
#include "tec/base/status.h"

namespace tec {
namespace {

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string ShapeOf(const std::vector<int64_t>& shape) {
  return absl::StrCat("[",
                      absl::StrJoin(shape, ", ",
                                    [](std::string* out, int64_t size) {
                                      absl::StrAppend(out, size < 0 ? "any" : absl::StrCat(size));
                                    }),
                      "]");
}

}  // namespace

absl::StatusOr<std::unique_ptr<GoldenTensors>> GoldenTensors::Read(const std::string& path, const std::string& file) {
  auto tensors = std::make_unique<GoldenTensors>();
  tensors->file_ = file;
  TEC_ASSIGN_OR_RETURN(tensors->content_, ReadSafetensors(path));
  return tensors;
}

std::vector<std::string> GoldenTensors::Names(const std::string& prefix) const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : content_.tensors) {
    if (absl::StartsWith(name, prefix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<TensorView> GoldenTensors::Input(const std::string& name) {
  const TensorView* tensor = Expected(name);
  if (tensor == nullptr) return absl::NotFoundError(absl::StrCat(file_, " has no tensor ", name));
  if (HasNan(*tensor)) return absl::InvalidArgumentError(absl::StrCat(file_, ": ", name, " holds a NaN"));
  return *tensor;
}

absl::StatusOr<TensorView> GoldenTensors::Input(const std::string& name, DType dtype,
                                                const std::vector<int64_t>& shape) {
  TEC_ASSIGN_OR_RETURN(TensorView tensor, Input(name));
  const bool fits = tensor.shape.size() == shape.size() &&
                    std::equal(shape.begin(), shape.end(), tensor.shape.begin(),
                               [](int64_t wanted, int64_t size) { return wanted < 0 ? size > 0 : wanted == size; });
  if (tensor.dtype == dtype && fits) return tensor;
  return absl::InvalidArgumentError(
      absl::StrCat(file_, ": ", name, " is ", Describe(tensor), ", not ", DTypeName(dtype), ShapeOf(shape)));
}

const TensorView* GoldenTensors::Expected(const std::string& name) {
  read_.insert(name);
  return content_.tensors.Find(name);
}

absl::StatusOr<nlohmann::json> GoldenTensors::Metadata(const std::string& key) const {
  const auto found = content_.metadata.find(key);
  if (found == content_.metadata.end()) return absl::NotFoundError(absl::StrCat(file_, " has no metadata ", key));
  nlohmann::json value = nlohmann::json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(file_, ": metadata ", key, " is no JSON: ", found->second));
  }
  return value;
}

std::vector<std::string> GoldenTensors::Unread() const {
  std::vector<std::string> unread;
  for (const auto& [name, tensor] : content_.tensors) {
    if (read_.count(name) == 0) unread.push_back(name);
  }
  return unread;
}

absl::StatusOr<std::unique_ptr<GoldenJson>> GoldenJson::Read(const std::string& path, const std::string& file) {
  auto json = std::make_unique<GoldenJson>();
  json->file_ = file;
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  json->content_ = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json->content_.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, " is no JSON object"));
  json->computed_ = json->content_;
  json->Documentation({"meta", "text", "columns", "python_library", "licences"});
  return json;
}

const nlohmann::json& GoldenJson::operator[](const std::string& key) {
  read_.insert(key);
  return content_.at(key);
}

void GoldenJson::Documentation(const std::vector<std::string>& keys) { read_.insert(keys.begin(), keys.end()); }

std::vector<std::string> GoldenJson::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : content_.items()) keys.push_back(key);
  return keys;
}

std::vector<std::string> GoldenJson::Unread() const {
  std::vector<std::string> unread;
  for (const std::string& key : Keys()) {
    if (read_.count(key) == 0) unread.push_back(key);
  }
  return unread;
}

GoldenItem::GoldenItem(std::string directory, std::string name, const GoldenOptions& options)
    : directory_(std::move(directory)), name_(std::move(name)), options_(options), started_(Now()) {}

GoldenTolerance GoldenItem::Model(double bound) const {
  return bfloat16() ? GoldenTolerance::Direction(kBfloat16Direction) : GoldenTolerance::Absolute(bound);
}

void GoldenItem::Progress(const std::string& what) const {
  if (options_.progress) std::fprintf(stderr, "%s: %s, %.0f s\n", name_.c_str(), what.c_str(), Now() - started_);
}

bool GoldenItem::HasFile(const std::string& file) const {
  struct stat info;
  return stat(absl::StrCat(directory_, "/", file).c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string GoldenItem::Path(const std::string& file) {
  files_.insert(file);
  return absl::StrCat(directory_, "/", file);
}

absl::StatusOr<GoldenTensors*> GoldenItem::Tensors(const std::string& file) {
  std::unique_ptr<GoldenTensors>& opened = tensors_[file];
  if (opened == nullptr) {
    auto read = GoldenTensors::Read(Path(file), file);
    if (!read.ok()) {
      tensors_.erase(file);
      return read.status();
    }
    opened = *std::move(read);
  }
  return opened.get();
}

absl::StatusOr<GoldenTensors*> GoldenItem::Inputs(const std::string& file) {
  inputs_.insert(file);
  return Tensors(file);
}

absl::StatusOr<GoldenJson*> GoldenItem::Json(const std::string& file) {
  std::unique_ptr<GoldenJson>& opened = json_[file];
  if (opened == nullptr) {
    auto read = GoldenJson::Read(Path(file), file);
    if (!read.ok()) {
      json_.erase(file);
      return read.status();
    }
    opened = *std::move(read);
  }
  return opened.get();
}

void GoldenItem::Add(const std::string& quantity, GoldenRow row) {
  row.item = name_;
  row.quantity = quantity;
  row.group = group_;
  rows_.push_back(std::move(row));
}

void GoldenItem::Compare(GoldenTensors& file, const std::string& name, const TensorView& actual,
                         const GoldenTolerance& tolerance, const GoldenSkip& skip) {
  // What is compared twice, as in float64 and in float32, is recorded as it was computed first.
  if (options_.record) file.computed_.emplace(name, TensorView::Copy(actual.dtype, actual.shape, actual.bytes));
  const TensorView* expected = file.Expected(name);
  if (expected == nullptr) return Fail(name, absl::StrCat(file.file(), " has no tensor ", name));
  Add(name, CompareTensors(actual, *expected, tolerance, skip));
}

void GoldenItem::CompareNumber(GoldenJson& file, const std::string& pointer, double actual,
                               const GoldenTolerance& tolerance) {
  const nlohmann::json::json_pointer place(pointer);
  if (options_.record) file.computed_[place] = actual;
  const double expected = file.content_.at(place).get<double>();
  GoldenRow row = CompareTensors(DoublesOf({actual}), DoublesOf({expected}), tolerance);
  if (!row.where.empty()) row.where = absl::StrFormat("%.12g, not %.12g", actual, expected);
  Add(pointer.substr(1), std::move(row));
}

void GoldenItem::CompareJson(GoldenJson& file, const std::string& pointer, const nlohmann::json& actual) {
  const nlohmann::json::json_pointer place(pointer);
  if (options_.record) file.computed_[place] = actual;
  const nlohmann::json& expected = file.content_.at(place);
  Expect(pointer.substr(1), actual == expected, absl::StrCat(actual.dump(), ", not ", expected.dump()));
}

void GoldenItem::Expect(const std::string& quantity, bool good, const std::string& what_is_wrong) {
  GoldenRow row;
  row.tolerance = "-";
  row.pass = good;
  if (!good) row.where = what_is_wrong;
  Add(quantity, std::move(row));
}

void GoldenItem::Finish(const absl::Status& status) {
  group_.clear();
  if (!status.ok()) {
    // What the check did not come to is no list of its own.
    Fail("(not all compared)", std::string(status.message()));
    return;
  }
  for (const auto& [file, tensors] : tensors_) {
    if (inputs_.count(file) != 0) continue;
    for (const std::string& name : tensors->Unread()) Fail(name, absl::StrCat("no check reads this tensor of ", file));
  }
  for (const auto& [file, json] : json_) {
    for (const std::string& key : json->Unread()) Fail(key, absl::StrCat("no check reads this entry of ", file));
  }
  if (rows_.empty()) Fail("(nothing)", "there was nothing to compare");
}

absl::Status GoldenItem::RecordTo(const std::string& directory) const {
  for (const auto& [file, opened] : tensors_) {
    if (inputs_.count(file) != 0) continue;
    StateDict tensors;
    for (const auto& [name, stored] : opened->content_.tensors) {
      const auto computed = opened->computed_.find(name);
      TEC_RETURN_IF_ERROR(tensors.Add(name, computed == opened->computed_.end() ? stored : computed->second));
    }
    std::map<std::string, std::string> metadata = opened->content_.metadata;
    metadata["recorded"] = "by record_goldens, from these inputs";
    TEC_RETURN_IF_ERROR(WriteSafetensors(absl::StrCat(directory, "/", file), tensors, metadata));
  }
  for (const auto& [file, opened] : json_) {
    nlohmann::json content = opened->computed_;
    content["meta"]["recorded"] = "by record_goldens, from these inputs";
    TEC_RETURN_IF_ERROR(WriteFile(absl::StrCat(directory, "/", file), content.dump(1) + "\n"));
  }
  return absl::OkStatus();
}

void RunGoldenCheck(GoldenCheck check, GoldenItem& item) {
  absl::Status status;
  try {
    status = check(item);
  } catch (const std::exception& error) {
    // The first line: LibTorch appends a stack.
    const std::string what = error.what();
    status = absl::InternalError(what.substr(0, what.find('\n')));
  }
  item.Finish(status);
}

}  // namespace tec
