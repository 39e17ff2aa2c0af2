// //tools:inspect FILE: what a weight file holds, or why it is refused. Exit codes: 0 read, 1 refused or bad use.

#include <cstdio>
#include <string>

#include "absl/status/statusor.h"
#include "tec/base/exit_code.h"
#include "tec/base/path.h"
#include "tools/weights/describe_file.h"

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    const bool help = argc == 2 && std::string(argv[1]) == "--help";
    std::fprintf(help ? stdout : stderr, "usage: inspect FILE\n");
    return help ? tec::kExitDone : tec::kExitBadInput;
  }
  const absl::StatusOr<std::string> text = tec::DescribeFile(tec::UserPath(argv[1]));
  if (!text.ok()) {
    std::fprintf(stderr, "refused: %s\n", std::string(text.status().message()).c_str());
    return tec::kExitBadInput;
  }
  std::fputs(text->c_str(), stdout);
  return tec::kExitDone;
}
