#include "eval/testing/program.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"

namespace tec::testing {

namespace {

ProgramResult RunCommand(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  TEC_CHECK(pipe != nullptr) << command;
  ProgramResult result;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) result.output.append(buffer, n);
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

std::string Command(const std::string& program, const std::string& arguments) {
  const bool draws = program == kPretrain || program == kFinetune || program == kLinear || program == kDense;
  const bool asked = absl::StrContains(arguments, "report");
  return absl::StrCat(program, draws && !asked ? " --noreport " : " ", arguments);
}

}  // namespace

ProgramResult RunProgram(const std::string& program, const std::string& arguments) {
  return RunCommand(absl::StrCat(Command(program, arguments), " 2>&1"));
}

ProgramResult RunShell(const std::string& script) { return RunProgram("bash", absl::StrCat("-c '", script, "'")); }

ProgramResult StopProgram(const std::string& program, const std::string& arguments, const std::string& when) {
  // Signal 15 is bit 14 of the handled ones: of the fourth hexadecimal digit from the right.
  return RunCommand(absl::StrCat("{ ", Command(program, arguments), " & child=$!; while [ -e /proc/$child/status ] && ",
                                 "! { grep -q '^SigCgt:.*[4-7c-f]...$' /proc/$child/status && ", when,
                                 "; }; do :; done; ", "kill -TERM $child; wait $child; } 2>&1"));
}

std::string FreshFolder(const std::string& name) {
  const char* base = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(base == nullptr ? "/tmp" : base, "/", name);
  TEC_CHECK_EQ(std::system(absl::StrCat("rm -rf '", path, "'").c_str()), 0);
  TEC_CHECK_OK(MakeDirectories(path));
  return path;
}

}  // namespace tec::testing
