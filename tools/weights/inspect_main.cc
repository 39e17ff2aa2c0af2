// //tools:inspect FILE [flags of what the file does not tell]: what a weight file holds, or why it is refused. Exit
// codes: 0 read, 1 refused or bad use.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/base/exit_code.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tec/config/flag_parser.h"
#include "tec/config/vit_flags.h"
#include "tools/weights/describe_file.h"

namespace tec {
namespace {

int Refuse(const absl::Status& status) {
  ReportStatus("refused", status);
  return kExitBadInput;
}

int Main(int argc, char** argv) {
  // The file is the one argument that is no flag, nor the value of a flag before it.
  std::string path;
  std::vector<const char*> flags = {argv[0]};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i], before = argv[i - 1], checkpoint = "--checkpoint=";
    const bool value = i > 1 && before.size() > 1 && before[0] == '-' && before.find('=') == std::string::npos;
    if (path.empty() && argument.compare(0, checkpoint.size(), checkpoint) == 0) {
      path = argument.substr(checkpoint.size());
    } else if (path.empty() && !value && argument[0] != '-') {
      path = argument;
    } else {
      flags.push_back(argv[i]);
    }
  }
  const std::vector<FlagGroup> groups = {{"What the file does not tell", VitFlags()}};
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(static_cast<int>(flags.size()), flags.data(), groups);
  if (!parsed.ok()) return Refuse(parsed.status());
  if (parsed->help || path.empty()) {
    std::fprintf(parsed->help ? stdout : stderr,
                 "usage: inspect FILE [flags]\n\nFILE, or --checkpoint=FILE: weights, an index of sharded ones, or a "
                 "folder as Hugging Face or OpenCLIP fill it.\n\n%s",
                 DescribeFlags(groups).c_str());
    return parsed->help ? kExitDone : kExitBadInput;
  }
  const absl::StatusOr<VitRequest> request = VitRequestFromFlags();
  if (!request.ok()) return Refuse(request.status());
  const absl::StatusOr<std::string> text = DescribeFile(UserPath(path), *request);
  if (!text.ok()) return Refuse(text.status());
  std::fputs(text->c_str(), stdout);
  return kExitDone;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
