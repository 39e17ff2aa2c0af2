// //tools:inspect FILE [--base_model_family=NAME]: what a weight file holds, or why it is refused. Exit codes: 0 read,
// 1 refused or bad use.

#include <cstdio>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tec/base/exit_code.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tools/weights/describe_file.h"

namespace {

int Main(int argc, char** argv) {
  std::string path, family;
  bool help = false, wrong = false;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (argument == "--help") {
      help = true;
    } else if (absl::ConsumePrefix(&argument, "--base_model_family=")) {
      family = std::string(argument);
    } else if (path.empty() && absl::ConsumePrefix(&argument, "--checkpoint=")) {
      path = std::string(argument);
    } else if (path.empty() && !argument.empty() && argument[0] != '-') {
      path = std::string(argument);
    } else {
      wrong = true;
    }
  }
  if (help || wrong || path.empty()) {
    help = help && !wrong;
    std::fprintf(help ? stdout : stderr,
                 "usage: inspect FILE [--base_model_family=NAME]\n\nFILE, or --checkpoint=FILE: weights, an index of "
                 "sharded ones, or a folder "
                 "as Hugging Face fills it.\n--base_model_family: how the file names its tensors; not given: "
                 "recognised.\n");
    return help ? tec::kExitDone : tec::kExitBadInput;
  }
  const absl::StatusOr<std::string> text = tec::DescribeFile(tec::UserPath(path), family);
  if (!text.ok()) {
    tec::ReportStatus("refused", text.status());
    return tec::kExitBadInput;
  }
  std::fputs(text->c_str(), stdout);
  return tec::kExitDone;
}

}  // namespace

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, Main); }
