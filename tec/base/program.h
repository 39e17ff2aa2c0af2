// How the programs end: what every main() goes through.
//
//   int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }

#ifndef TEC_BASE_PROGRAM_H_
#define TEC_BASE_PROGRAM_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tec/base/exit_code.h"

namespace tec {

// Prints "PROGRAM: message" on standard error, safe for a terminal (printable.h), and returns the exit code; prints
// nothing for OK.
ExitCode ReportStatus(absl::string_view program, const absl::Status& status);

// Calls `main`. An exception that a library let out of it becomes a line and kExitFailed, instead of an abort.
int RunProgram(int argc, char** argv, int (*main)(int argc, char** argv));

}  // namespace tec

#endif  // TEC_BASE_PROGRAM_H_
