#include "tec/base/program.h"

#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "tec/base/printable.h"

namespace tec {

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
