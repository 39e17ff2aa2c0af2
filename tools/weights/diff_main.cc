// //tools:diff A B: which tensors of two weight files differ, and by how much. Exit codes: 0 equal, 2 different, 1 a
// file is refused, or bad use.

#include <cstdio>
#include <string>

#include "absl/status/statusor.h"
#include "tec/base/exit_code.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tools/weights/describe_file.h"

namespace {

int Main(int argc, char** argv) {
  if (argc != 3 || argv[1][0] == '-') {
    const bool help = argc == 2 && std::string(argv[1]) == "--help";
    std::fprintf(help ? stdout : stderr, "usage: diff FILE FILE\n");
    return help ? tec::kExitDone : tec::kExitBadInput;
  }
  const absl::StatusOr<tec::FileDifference> difference = tec::DiffFiles(tec::UserPath(argv[1]), tec::UserPath(argv[2]));
  if (!difference.ok()) {
    tec::ReportStatus("refused", difference.status());
    return tec::kExitBadInput;
  }
  std::fputs(difference->text.c_str(), stdout);
  return difference->equal ? tec::kExitDone : tec::kExitFailed;
}

}  // namespace

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, Main); }
