#include "eval/report/run_info.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/report/run_folder.h"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/version.h"
#include "tec/dist/launch.h"

namespace tec {
namespace {

constexpr char kName[] = "/run_info.jsonl";

std::string ProcessorName() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/cpuinfo");
  if (!text.ok()) return "unknown";
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (absl::StartsWith(line, "model name")) {
      const std::vector<std::string> parts = absl::StrSplit(line, ": ");
      return parts.back();
    }
  }
  return "unknown";
}

// The first lines that a command prints; empty if it cannot be run or fails.
std::string OutputOf(const std::vector<std::string>& command) {
  std::FILE* pipe = popen((ShellCommand(command) + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return "";
  char text[4096];
  const size_t size = std::fread(text, 1, sizeof(text), pipe);
  const bool ok = pclose(pipe) == 0;
  return ok ? std::string(absl::StripAsciiWhitespace(absl::string_view(text, size))) : "";
}

// GPUs, one a line "NVIDIA H100 80GB HBM3, driver 580.95.05".
std::vector<std::string> Gpus() {
  std::vector<std::string> gpus;
  const std::string text = OutputOf({"nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"});
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(", ", 1));
    gpus.push_back(absl::StrCat(parts.first, ", driver ", absl::StripAsciiWhitespace(parts.second)));
  }
  return gpus;
}

// This process's own.
std::vector<std::string> CommandLineWords() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/cmdline");
  if (!text.ok()) return {};
  std::vector<std::string> words = absl::StrSplit(absl::StripSuffix(*text, std::string(1, '\0')), '\0');
  return words;
}

}  // namespace

nlohmann::ordered_json ThisMachineInfo() {
  utsname name = {};
  uname(&name);
  return {{"system", absl::StrCat(name.sysname, " ", name.release, " ", name.machine)},
          {"processor", ProcessorName()},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"gpus", Gpus()},
          {"compiler", __VERSION__},
          {"libtorch", TEC_LIBTORCH_VERSION},
          {"cuda", TEC_CUDA_VERSION}};
}

std::string ProjectCommit() {
  const char* checkout = std::getenv("BUILD_WORKSPACE_DIRECTORY");
  std::string commit;
  if (checkout != nullptr) {
    commit = OutputOf({"git", "-C", checkout, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"});
  }
  return commit.empty() ? "unknown (not started by bazel run in a git checkout)" : commit;
}

absl::Status AddRunInfo(const std::string& folder) {
  const nlohmann::ordered_json line = {
      {"started", absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::Now(), absl::UTCTimeZone())},
      {"command", ShellCommand(CommandLineWords())},
      {"version", kVersion},
      {"commit", ProjectCommit()},
      {"machine", ThisMachineInfo()}};
  const std::string path = folder + kName;
  // A FIFO would hold up whoever opens it for writing.
  if (const absl::Status readable = CheckReadable(path); !readable.ok() && !absl::IsNotFound(readable)) return readable;
  std::ofstream file(path, std::ios::app);
  if (!(file << DumpJson(line) << "\n").flush()) return ErrnoToStatus(errno, "cannot write", path);
  return absl::OkStatus();
}

std::vector<nlohmann::json> ReadRunInfo(const std::string& folder) {
  const absl::StatusOr<std::string> text = ReadFile(folder + kName);
  return text.ok() ? ParseJsonLines(*text) : std::vector<nlohmann::json>();
}

}  // namespace tec
