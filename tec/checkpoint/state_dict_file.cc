#include "tec/checkpoint/state_dict_file.h"

#include <string.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/status.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

bool LooksLikeSafetensors(absl::string_view bytes) {
  if (bytes.size() < 9) return false;
  uint64_t header_size;
  memcpy(&header_size, bytes.data(), 8);
  return header_size <= 100'000'000 && (bytes[8] == '{' || bytes[8] == ' ' || bytes[8] == '\n' || bytes[8] == '\t');
}

std::string TopLevelKeys(const Value& root) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : root.entries()) {
    if (keys.size() == 20) {
      keys.push_back("...");
      break;
    }
    keys.push_back(key.kind() == Value::Kind::kString ? key.text() : key.Describe());
  }
  return absl::StrJoin(keys, ", ");
}

absl::StatusOr<StateDict> TensorsOf(const Value& dict) {
  if (!dict.is_dict()) return Invalid(absl::StrCat("a ", dict.Describe(), ", not a dict of tensors"));
  StateDict tensors;
  std::vector<std::string> others;
  for (const auto& [key, value] : dict.entries()) {
    if (key.kind() != Value::Kind::kString || value.kind() != Value::Kind::kTensor) {
      others.push_back(
          absl::StrCat(key.kind() == Value::Kind::kString ? key.text() : key.Describe(), " (", value.Describe(), ")"));
      continue;
    }
    TEC_RETURN_IF_ERROR(tensors.Add(key.text(), value.tensor()));
  }
  if (!others.empty()) {
    const size_t count = others.size();
    if (count > 20) others.resize(20);
    return Invalid(
        absl::StrCat(count, " entries are no tensors: ", absl::StrJoin(others, ", "), count > 20 ? ", ..." : ""));
  }
  if (tensors.empty()) return Invalid("no tensors");
  return tensors;
}

absl::Status Flatten(const Value& value, const std::string& path, StateDict* out) {
  const std::string prefix = path.empty() ? "" : path + "/";
  switch (value.kind()) {
    case Value::Kind::kTensor:
      return out->Add(path, value.tensor());
    case Value::Kind::kDict:
    case Value::Kind::kOrderedDict:
    case Value::Kind::kObject:
      for (const auto& [key, item] : value.entries()) {
        const std::string name = key.kind() == Value::Kind::kString ? key.text()
                                 : key.kind() == Value::Kind::kInt  ? absl::StrCat(key.int_value())
                                                                    : key.Describe();
        TEC_RETURN_IF_ERROR(Flatten(item, prefix + name, out));
      }
      return absl::OkStatus();
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      for (size_t i = 0; i < value.items().size(); ++i) {
        TEC_RETURN_IF_ERROR(Flatten(value.items()[i], absl::StrCat(prefix, i), out));
      }
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

absl::StatusOr<StateDictFile> Read(const std::string& path, const std::string& top_level) {
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const absl::string_view bytes = file->bytes();
  const bool zip = absl::StartsWith(bytes, absl::string_view("PK\x03\x04", 4));
  // The name decides only whose message a broken file gets.
  if (!zip && (LooksLikeSafetensors(bytes) || absl::EndsWith(path, ".safetensors"))) {
    if (!top_level.empty()) {
      return Invalid(absl::StrCat("a safetensors file has no entry \"", top_level, "\" to choose"));
    }
    TEC_ASSIGN_OR_RETURN(Safetensors read, ParseSafetensors(std::move(file)));
    if (read.tensors.empty()) return Invalid("no tensors");
    StateDictFile result;
    result.tensors = std::move(read.tensors);
    result.container = "safetensors";
    return result;
  }
  TEC_ASSIGN_OR_RETURN(const Value root, ParsePth(std::move(file)));
  TEC_ASSIGN_OR_RETURN(StateDictFile result, SelectStateDict(root, top_level));
  result.container = zip ? "zip .pth" : "legacy .pth";
  return result;
}

}  // namespace

absl::StatusOr<StateDictFile> SelectStateDict(const Value& root, const std::string& top_level) {
  if (!root.is_dict()) return Invalid(absl::StrCat("the file holds a ", root.Describe(), ", not a dict of tensors"));
  StateDictFile result;
  result.top_level = top_level;
  if (top_level.empty()) {
    for (const char* candidate : {"model", "state_dict"}) {
      const Value* value = root.Find(candidate);
      if (value != nullptr && value->kind() != Value::Kind::kTensor) {
        result.top_level = candidate;
        break;
      }
    }
  }
  const Value* dict = &root;
  if (!result.top_level.empty()) {
    dict = root.Find(result.top_level);
    if (dict == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("no entry \"", result.top_level, "\"; the file has ", TopLevelKeys(root)));
    }
  } else {
    std::vector<std::string> dicts;
    for (const auto& [key, value] : root.entries()) {
      if (key.kind() == Value::Kind::kString && value.is_dict()) dicts.push_back(key.text());
    }
    if (!dicts.empty()) {
      return Invalid(absl::StrCat("the file has neither \"model\" nor \"state_dict\": say which entry to take, one of ",
                                  absl::StrJoin(dicts, ", ")));
    }
  }
  absl::StatusOr<StateDict> tensors = TensorsOf(*dict);
  if (!tensors.ok()) {
    return result.top_level.empty() ? tensors.status()
                                    : Annotate(tensors.status(), absl::StrCat("entry \"", result.top_level, "\""));
  }
  result.tensors = *std::move(tensors);
  return result;
}

absl::StatusOr<StateDictFile> ReadStateDict(const std::string& path, const std::string& top_level) {
  absl::StatusOr<StateDictFile> result = Read(path, top_level);
  // MappedFile names the path itself.
  if (!result.ok() && !absl::StrContains(result.status().message(), path)) return Annotate(result.status(), path);
  return result;
}

absl::StatusOr<StateDict> FlattenTensors(const Value& root) {
  StateDict tensors;
  TEC_RETURN_IF_ERROR(Flatten(root, "", &tensors));
  return tensors;
}

}  // namespace tec
