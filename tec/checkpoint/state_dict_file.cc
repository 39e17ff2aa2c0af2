#include "tec/checkpoint/state_dict_file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/small_json.h"

namespace tec {
namespace {

constexpr absl::string_view kIndexSuffix = ".index.json";

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

// At most 20, in order.
std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  if (DIR* directory = opendir(folder.c_str()); directory != nullptr) {
    while (const dirent* entry = readdir(directory)) {
      if (entry->d_name[0] != '.') names.push_back(entry->d_name);
    }
    closedir(directory);
  }
  std::sort(names.begin(), names.end());
  if (names.size() > 20) {
    names.resize(20);
    names.push_back("...");
  }
  return names;
}

// A name in the folder of the index: not a way out of it, nor an index again.
bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && !absl::EndsWith(name, kIndexSuffix);
}

// Of what is told about a file, bytes.
constexpr size_t kMostMessage = 8192;

// Of all shards together.
constexpr size_t kMaxIndexed = 20'000;

absl::StatusOr<StateDictFile> NamingPath(const std::string& path, absl::StatusOr<StateDictFile> result) {
  if (result.ok()) return result;
  // MappedFile names the path itself.
  const absl::Status status =
      absl::StrContains(result.status().message(), path) ? result.status() : Annotate(result.status(), path);
  // Names out of the file are in it, of any length.
  const absl::string_view message = status.message();
  if (message.size() <= kMostMessage) return absl::Status(status.code(), Printable(message));
  return absl::Status(status.code(),
                      absl::StrCat(Printable(message.substr(0, kMostMessage)), " ... (", message.size(), " bytes)"));
}

absl::StatusOr<StateDictFile> Read(const std::string& path, const std::string& top_level, const EntryChoice& choose);

absl::StatusOr<StateDictFile> ReadShards(const std::string& path) {
  std::map<std::string, std::set<std::string>> shards;
  {
    TEC_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
    TEC_ASSIGN_OR_RETURN(shards, ParseShardIndex(file->bytes()));
  }
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  StateDictFile result;
  for (const auto& [shard, names] : shards) {
    absl::StatusOr<StateDictFile> read = NamingPath(folder + shard, Read(folder + shard, "", nullptr));
    if (!read.ok()) return read.status();
    for (const auto& [name, tensor] : read->tensors) {
      if (names.count(name) == 0)
        return Invalid(absl::StrCat(shard, " holds ", name, ", which the index has elsewhere"));
      TEC_RETURN_IF_ERROR(result.tensors.Add(name, tensor));
    }
    for (const std::string& name : names) {
      if (read->tensors.Find(name) == nullptr) return Invalid(absl::StrCat(shard, " lacks ", name));
    }
    result.container = absl::StrCat(read->container, " in ", shards.size(), " shards");
  }
  return result;
}

absl::StatusOr<StateDictFile> Read(const std::string& given_path, const std::string& top_level,
                                   const EntryChoice& choose) {
  TEC_ASSIGN_OR_RETURN(const std::string path, WeightFileIn(given_path));
  if (absl::EndsWith(path, kIndexSuffix)) {
    if (!top_level.empty()) return Invalid(absl::StrCat("sharded weights have no entry \"", top_level, "\""));
    TEC_ASSIGN_OR_RETURN(StateDictFile shards, ReadShards(path));
    shards.path = path;
    return shards;
  }
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const absl::string_view bytes = file->bytes();
  const bool zip = absl::StartsWith(bytes, absl::string_view("PK\x03\x04", 4));
  // The name decides only whose message a broken file gets.
  if (!zip && (LooksLikeSafetensors(bytes) || (absl::EndsWith(path, ".safetensors") && WhatItSeems(bytes).empty()))) {
    if (!top_level.empty()) {
      return Invalid(absl::StrCat("a safetensors file has no entry \"", top_level, "\" to choose"));
    }
    TEC_ASSIGN_OR_RETURN(Safetensors read, ParseSafetensors(std::move(file)));
    if (read.tensors.empty()) return Invalid("no tensors");
    StateDictFile result;
    result.tensors = std::move(read.tensors);
    result.container = "safetensors";
    result.path = path;
    return result;
  }
  TEC_ASSIGN_OR_RETURN(const Value root, ParsePth(std::move(file)));
  std::string entry = top_level;
  if (choose) {
    TEC_ASSIGN_OR_RETURN(entry, choose(root));
  }
  TEC_ASSIGN_OR_RETURN(StateDictFile result, SelectStateDict(root, entry));
  result.container = zip ? "zip .pth" : "legacy .pth";
  result.path = path;
  return result;
}

// "owner/name", a model's name on a hub, if `path`, where nothing is, may be meant as one; else "".
std::string HubName(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash + 1 == path.size()) return "";
  const std::string folder = path.substr(0, slash);
  struct stat info;
  for (const char* ending : {".pth", ".pt", ".bin", ".safetensors", ".json", ".ckpt", ".tar", ".npz"}) {
    if (absl::EndsWith(path, ending)) return "";
  }
  if (stat(folder.c_str(), &info) == 0) return "";
  // Where the user stands may have been put before it; a longer path of names that are not there is no such name.
  const size_t start = folder.rfind('/');
  if (start != std::string::npos && stat(path.substr(0, start).c_str(), &info) != 0) return "";
  const std::string name = path.substr(start + 1);
  for (const char* scheme : {"hf-hub:", "hf_hub:"}) {
    if (absl::StartsWith(name, scheme)) return name.substr(strlen(scheme));
  }
  return name;
}

}  // namespace

absl::StatusOr<std::string> WeightFileIn(const std::string& path) {
  // UserPath may have put a folder before it, and the file system joins slashes.
  constexpr const char* kSchemes[][3] = {{"https:/", "curl -L -o FILE", ""},
                                         {"http:/", "curl -L -o FILE", ""},
                                         {"s3:/", "aws s3 cp", " FILE"},
                                         {"gs:/", "gsutil cp", " FILE"}};
  for (const auto& [scheme, command, last] : kSchemes) {
    const size_t at = path.find(scheme);
    if (at == std::string::npos || (at > 0 && path[at - 1] != '/')) continue;
    std::string address = path.substr(at);
    if (!absl::StrContains(address, "://")) address.insert(strlen(scheme), "/");
    return Invalid(absl::StrCat(address, " is an address, and files are read: ", command, " \"", address, "\"", last,
                                " downloads it"));
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const std::string name = errno == ENOENT ? HubName(path) : "";
    if (name.empty()) return path;
    const std::string folder = name.substr(name.rfind('/') + 1);
    return absl::NotFoundError(absl::StrCat("there is no file ", path,
                                            ". A model of the Hugging Face hub of that name: hf download ", name,
                                            " --local-dir ", folder, ", then give ", folder));
  }
  if (!S_ISDIR(info.st_mode)) return path;
  static const auto* names =
      new std::vector<std::string>{"model.safetensors",           "model.safetensors.index.json",
                                   "pytorch_model.bin",           "pytorch_model.bin.index.json",
                                   "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                   "open_clip_pytorch_model.bin"};
  for (const std::string& name : *names) {
    const std::string file = absl::StrCat(path, "/", name);
    if (stat(file.c_str(), &info) == 0) return file;
  }
  const std::vector<std::string> entries = NamesIn(path);
  for (const std::string& folder : entries) {
    for (const std::string& pickle : {absl::StrCat(path, "/data.pkl"), absl::StrCat(path, "/", folder, "/data.pkl")}) {
      if (stat(pickle.c_str(), &info) != 0) continue;
      const std::string root = pickle.substr(0, pickle.rfind('/')), name = root.substr(root.rfind('/') + 1);
      return Invalid(absl::StrCat(path, " is an unpacked .pth: (cd ", root, "/.. && zip -0 -r ", name, ".pth ", name,
                                  ") packs it again"));
    }
  }
  return Invalid(absl::StrCat(path, " is a folder without weights under a name that is looked for (",
                              absl::StrJoin(*names, ", "), "): it has ",
                              entries.empty() ? "nothing" : absl::StrJoin(entries, ", "), "; name the file itself"));
}

absl::StatusOr<std::map<std::string, std::set<std::string>>> ParseShardIndex(absl::string_view text) {
  absl::StatusOr<nlohmann::json> index = ParseSmallJson(text);
  if (!index.ok()) return Annotate(index.status(), "the index of shards");
  const auto map = index->is_object() ? index->find("weight_map") : index->end();
  if (!index->is_object() || map == index->end() || !map->is_object() || map->empty()) {
    return Invalid("the index has no \"weight_map\"");
  }
  if (map->size() > kMaxIndexed) {
    return Invalid(absl::StrCat("the index names ", map->size(), " tensors, more than ", kMaxIndexed));
  }
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get<std::string>())) {
      return Invalid(absl::StrCat("the index has no file name for ", tensor));
    }
    shards[shard.get<std::string>()].insert(tensor);
  }
  return shards;
}

std::vector<std::string> TensorEntries(const Value& root) {
  std::vector<std::string> names;
  if (!root.is_dict()) return names;
  for (const auto& [key, value] : root.entries()) {
    if (key.kind() != Value::Kind::kString || !value.is_dict()) continue;
    for (const auto& [name, item] : value.entries()) {
      if (name.kind() == Value::Kind::kString && item.kind() == Value::Kind::kTensor) {
        names.push_back(key.text());
        break;
      }
    }
  }
  return names;
}

absl::StatusOr<StateDictFile> SelectStateDict(const Value& root, const std::string& top_level) {
  if (!root.is_dict()) return Invalid(absl::StrCat("the file holds a ", root.Describe(), ", not a dict of tensors"));
  const std::vector<std::string> entries = TensorEntries(root);
  StateDictFile result;
  result.top_level = top_level;
  for (const char* usual : {"model", "state_dict"}) {
    if (result.top_level.empty() && std::find(entries.begin(), entries.end(), usual) != entries.end()) {
      result.top_level = usual;
    }
  }
  if (result.top_level.empty() && entries.size() == 1) result.top_level = entries[0];
  if (result.top_level.empty() && entries.size() > 1) {
    return Invalid(absl::StrCat("the file has neither \"model\" nor \"state_dict\": say which entry to take, --entry=",
                                absl::StrJoin(entries, " or --entry=")));
  }
  const Value* dict = &root;
  if (!result.top_level.empty()) {
    dict = root.Find(result.top_level);
    if (dict == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("no entry \"", result.top_level, "\"; the file has ", TopLevelKeys(root)));
    }
  }
  for (const std::string& entry : entries) {
    if (entry != result.top_level) result.other_entries.push_back(entry);
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
  return NamingPath(path, Read(path, top_level, nullptr));
}

absl::StatusOr<StateDictFile> ReadStateDictBy(const std::string& path, const EntryChoice& choose) {
  return NamingPath(path, Read(path, "", choose));
}

absl::StatusOr<StateDict> FlattenTensors(const Value& root) {
  StateDict tensors;
  TEC_RETURN_IF_ERROR(Flatten(root, "", &tensors));
  return tensors;
}

}  // namespace tec
