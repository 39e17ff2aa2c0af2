#include "eval/report/picture_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// What the environment tells: whose pictures, and where to.
constexpr char kRunVariable[] = "TEC_DRAW_PICTURES_OF", kOutputVariable[] = "TEC_DRAW_PICTURES_TO";

// How this program was called: its path and, of the program of programs (tec/command), the subcommand.
std::vector<std::string> OwnWords() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/cmdline");
  std::vector<std::string> words;
  if (text.ok()) words = absl::StrSplit(*text, '\0', absl::SkipEmpty());
  if (words.size() > 1 && absl::StartsWith(words[1], "-")) words.resize(1);
  if (words.size() > 2) words.resize(2);
  return words;
}

// Exec's form of strings that outlive it.
std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

absl::StatusOr<pid_t> Start(const std::string& folder, const std::string& output) {
  std::vector<std::string> words = OwnWords(), variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  variables.push_back(absl::StrCat(kRunVariable, "=", folder));
  variables.push_back(absl::StrCat(kOutputVariable, "=", output));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Nothing of it belongs between the lines of the run.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, Pointers(words).data(), Pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoToStatus(error, "cannot start", words.empty() ? "/proc/self/exe" : words[0]);
  return pid;
}

// How it ended; Cancelled if `stop` said yes before.
absl::Status Wait(pid_t pid, const std::function<bool()>& stop) {
  int status = 0;
  while (true) {
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid) break;
    if (ended < 0 && errno != EINTR) return ErrnoToStatus(errno, "cannot wait for", absl::StrCat("process ", pid));
    if (stop && stop()) {
      kill(pid, SIGKILL);
      while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
      return absl::CancelledError("stopped");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (WIFSIGNALED(status)) {
    return absl::InternalError(absl::StrCat("the process that draws was ended by signal ", WTERMSIG(status), " (",
                                            strsignal(WTERMSIG(status)), ")"));
  }
  if (WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the process that draws ended with exit code ", WEXITSTATUS(status)));
}

absl::StatusOr<std::vector<ReportSection>> ReadSections(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("sections")) return absl::DataLossError(path + " is no list of sections");
  if (const int code = json.value("code", 0); code != 0) {
    return absl::Status(static_cast<absl::StatusCode>(code), json.value("message", ""));
  }
  std::vector<ReportSection> sections;
  for (const auto& section : json["sections"]) {
    sections.push_back({section.value("id", ""), section.value("title", ""), section.value("html", "")});
  }
  return sections;
}

}  // namespace

std::optional<int> DrawIfAsked(const DrawSections& draw) {
  const char* folder = std::getenv(kRunVariable);
  const char* output = std::getenv(kOutputVariable);
  if (folder == nullptr || output == nullptr) return std::nullopt;
  const absl::StatusOr<RunFolder> run = ReadRunFolder(folder);
  const absl::StatusOr<std::vector<ReportSection>> sections =
      run.ok() ? draw(*run) : absl::StatusOr<std::vector<ReportSection>>(run.status());
  nlohmann::ordered_json json = {{"code", static_cast<int>(sections.status().code())},
                                 {"message", std::string(sections.status().message())},
                                 {"sections", nlohmann::ordered_json::array()}};
  if (sections.ok()) {
    for (const ReportSection& section : *sections) {
      json["sections"].push_back({{"id", section.id}, {"title", section.title}, {"html", section.html}});
    }
  }
  return WriteFile(output, DumpJson(json)).ok() ? 0 : 2;
}

absl::StatusOr<std::vector<ReportSection>> SectionsByProcess(const RunFolder& run, const std::function<bool()>& stop) {
  const std::string output = absl::StrCat(run.path, "/report_pictures.json.", getpid(), AtomicFileWriter::kSuffix);
  TEC_ASSIGN_OR_RETURN(const pid_t pid, Start(run.path, output));
  const absl::Status ended = Wait(pid, stop);
  absl::StatusOr<std::vector<ReportSection>> sections = absl::UnknownError("not read");
  if (ended.ok()) {
    sections = ReadSections(output);
  } else {
    sections = ended;
  }
  unlink(output.c_str());
  return sections;
}

}  // namespace tec
