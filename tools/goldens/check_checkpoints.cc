// Weight files: those a reader must take, bit for bit, and those it must refuse.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tools/goldens/checks.h"

namespace tec {
namespace {

// What the calls inside the hostile files would create.
constexpr char kPwned[] = "PWNED_BY_CHECKPOINT";
// What a refusal may take beyond the file's size: the reader's own buffers.
constexpr int64_t kMemoryAllowance = int64_t{64} << 20;
// What the reference takes from a file with "student": its names without their first characters.
constexpr size_t kStudentPrefix = 16;

// The largest resident memory of this process so far, bytes; 0 where the system does not tell.
int64_t PeakMemory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    int64_t kib;
    if (absl::StartsWith(line, "VmHWM:") &&
        absl::SimpleAtoi(absl::StrReplaceAll(line.substr(6), {{"kB", ""}, {" ", ""}, {"\t", ""}}), &kib)) {
      return kib << 10;
    }
  }
  return 0;
}

// From here on PeakMemory() starts anew.
void ResetPeakMemory() { std::ofstream("/proc/self/clear_refs") << "5"; }

int64_t FileSize(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? info.st_size : 0;
}

// Every tensor that was read against its twin, in whatever order of names.
void CompareStateDict(GoldenItem& item, const std::string& file, const StateDict& read, GoldenTensors& twin,
                      const std::string& only_tolerance_for = "", double tolerance = 0) {
  item.Group(absl::StrCat(file, " as ", twin.file()));
  for (const auto& [name, tensor] : read) {
    item.Compare(twin, name, tensor,
                 name == only_tolerance_for ? GoldenTolerance::Absolute(tolerance) : GoldenTolerance::Bits());
  }
  item.Group("");
}

absl::Status CheckAccepted(GoldenItem& item, const nlohmann::json& entry) {
  const std::string file = absl::StrCat("checkpoints/", entry.at("file").get<std::string>());
  const std::string path = item.Path(file);
  if (entry.contains("raw_twin")) {
    // Every tensor under its path, and what the reference would take.
    TEC_ASSIGN_OR_RETURN(GoldenTensors * raw,
                         item.Tensors(absl::StrCat("checkpoints/", std::string(entry["raw_twin"]))));
    TEC_ASSIGN_OR_RETURN(GoldenTensors * twin,
                         item.Tensors(absl::StrCat("checkpoints/", std::string(entry.at("twin")))));
    TEC_ASSIGN_OR_RETURN(const Value root, ReadPth(path));
    TEC_ASSIGN_OR_RETURN(const StateDict all, FlattenTensors(root));
    CompareStateDict(item, file, all, *raw);
    TEC_ASSIGN_OR_RETURN(const StateDictFile student, ReadStateDict(path, "student"));
    StateDict cut;
    for (const auto& [name, tensor] : student.tensors) {
      TEC_RETURN_IF_ERROR(cut.Add(name.substr(std::min(name.size(), kStudentPrefix)), tensor));
    }
    CompareStateDict(item, file, cut, *twin);
    return absl::OkStatus();
  }
  TEC_ASSIGN_OR_RETURN(GoldenTensors * twin, item.Tensors(absl::StrCat("checkpoints/", std::string(entry.at("twin")))));
  const absl::StatusOr<StateDictFile> read = ReadStateDict(path);
  if (!read.ok() && entry.value("may_refuse", false)) {
    item.Expect(file, true, "");
    for (const std::string& name : twin->Names()) twin->Expected(name);
    return absl::OkStatus();
  }
  TEC_RETURN_IF_ERROR(read.status());
  CompareStateDict(item, file, read->tensors, *twin);
  return absl::OkStatus();
}

void CheckRefused(GoldenItem& item, const nlohmann::json& entry) {
  const std::string file = absl::StrCat("checkpoints/", entry.at("file").get<std::string>());
  const std::string path = item.Path(file);
  if (!item.HasFile(file)) return item.Fail(file, "is not there");
  // The message may be all that is wrong with a file: the same reader as that of a file a user names.
  ResetPeakMemory();
  const int64_t before = PeakMemory();
  const absl::StatusOr<StateDictFile> read = ReadStateDict(path);
  const int64_t taken = PeakMemory() - before;
  const int64_t allowed = kMemoryAllowance + FileSize(path);
  if (read.ok()) {
    item.Fail(file, absl::StrCat("was read, but should be refused: ", entry.value("text", "")));
  } else {
    item.Expect(
        file, taken <= allowed,
        absl::StrFormat("was refused after taking %d MiB, for a file of %d bytes", taken >> 20, FileSize(path)));
  }
}

}  // namespace

absl::Status CheckCheckpoints(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * index, item.Json("checkpoints/index.json"));
  const bool pwned = access(kPwned, F_OK) == 0;
  if (index->Has("accept")) {
    for (const nlohmann::json& entry : (*index)["accept"]) {
      const absl::Status status = CheckAccepted(item, entry);
      if (!status.ok()) item.Fail(entry.value("file", "accept"), std::string(status.message()));
    }
  }
  if (index->Has("refuse")) {
    item.Group("refuse/*");
    for (const nlohmann::json& entry : (*index)["refuse"]) CheckRefused(item, entry);
    item.Group("");
    item.Expect(kPwned, pwned || access(kPwned, F_OK) != 0, "a file ran code: it is there now");
  }
  return absl::OkStatus();
}

absl::Status CheckInventory(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * inventory, item.Json(absl::StrCat(item.name(), ".json")));
  for (const auto& [file, entry] : (*inventory)["files"].items()) {
    // A directory may hold a part of the files.
    if (!item.HasFile(file)) continue;
    item.Group("files/*");
    std::string difference;
    if (entry.contains("tensors")) {
      const auto opened = item.Inputs(file);
      if (!opened.ok()) {
        difference = std::string(opened.status().message());
      } else {
        nlohmann::json tensors = nlohmann::json::object();
        for (const auto& [name, tensor] : (*opened)->content().tensors) {
          tensors[name] = absl::StrReplaceAll(Describe(tensor), {{",", ", "}});
        }
        const nlohmann::json patch = nlohmann::json::diff(entry["tensors"], tensors);
        if (!patch.empty()) difference = patch.dump();
      }
    }
    item.Expect(file, difference.empty(), difference);
    item.Group("");
  }
  return absl::OkStatus();
}

}  // namespace tec
