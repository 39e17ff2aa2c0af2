#include "tec/base/program.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

char bus_error[512];
size_t bus_error_size = 0;

// A file that is mapped into memory has become shorter, or its device gives it no more: there is no call that could
// fail, and no way back.
void HandleBusError(int) {
  (void)!write(STDERR_FILENO, bus_error, bus_error_size);
  _exit(kExitFailed);
}

void TellOfBusErrors(absl::string_view program) {
  const std::string line = Printable(
      absl::StrCat(program, ": a file that is mapped into memory has become shorter or cannot be read any more"));
  bus_error_size = line.copy(bus_error, sizeof(bus_error) - 1);
  bus_error[bus_error_size++] = '\n';
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = HandleBusError;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

ExitCode ReportStatus(absl::string_view program, const absl::Status& status) {
  if (!status.ok()) {
    // In one piece, which the processes of a run do not mix.
    const std::string line = PrintableLines(absl::StrCat(program, ": ", status.message(), "\n"));
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
  return ExitCodeOf(status);
}

int RunProgram(int argc, char** argv, int (*main)(int argc, char** argv)) {
  absl::string_view program = argc > 0 ? argv[0] : "";
  const size_t slash = program.rfind('/');
  if (slash != absl::string_view::npos) program.remove_prefix(slash + 1);
  TellOfBusErrors(program);
  signal(SIGXFSZ, SIG_IGN);  // A file that outgrows "ulimit -f" is an error of its writing, as on a full disk.
  try {
    return main(argc, argv);
  } catch (const std::bad_alloc&) {
    return ReportStatus(program, absl::ResourceExhaustedError("not enough memory"));
  } catch (const std::exception& exception) {
    return ReportStatus(program,
                        absl::InternalError(absl::StrCat("unexpected error of a library: ", exception.what())));
  }
}

}  // namespace tec
