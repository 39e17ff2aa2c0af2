// //tools:shard: a data set as one file, with the pictures' bytes unchanged.
//
//   ./bazelw run //tools:shard -- --data_path=/imagenet/train --output=/fast/train.tecpack
//   ./bazelw run //tec/train:pretrain -- --data_path=/fast/train.tecpack ...
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "data/dataset/pack.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"

ABSL_FLAG(std::string, data_path, "", "class folders, a folder of pictures, a list file, tar shards");
ABSL_FLAG(std::string, output, "", "the packed file; its name must end in .tecpack");
ABSL_FLAG(std::string, split, "whole",
          "train: data_path/train if there is one; held_out: val or test; whole: as it is");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Packs a data set into one file: every picture's bytes as they are, its name and its label.\n\n"
    "  ./bazelw run //tools:shard -- --data_path=/imagenet/train --output=/fast/train.tecpack\n\n";

std::vector<FlagGroup> Flags() { return {{"Data", {{"data_path"}, {"split"}, {"output"}}}}; }

absl::Status Run() {
  const std::string path = UserPath(absl::GetFlag(FLAGS_data_path)), output = UserPath(absl::GetFlag(FLAGS_output));
  if (path.empty() || output.empty()) return absl::InvalidArgumentError("give --data_path=DATA and --output=FILE");
  if (!IsPackName(output)) {
    return absl::InvalidArgumentError(absl::StrCat("--output must end in ", kPackSuffix, ": ", output));
  }
  const std::string name = absl::GetFlag(FLAGS_split);
  if (name != "train" && name != "held_out" && name != "whole") {
    return absl::InvalidArgumentError(absl::StrCat("--split must be train, held_out or whole, not ", name));
  }
  const Split split = name == "train" ? Split::kTrain : name == "held_out" ? Split::kHeldOut : Split::kWhole;
  TEC_ASSIGN_OR_RETURN(const auto dataset, OpenDataset(path, split));
  const auto progress = [&](int64_t done) {
    std::fprintf(stderr, "\r%lld of %lld pictures", static_cast<long long>(done),
                 static_cast<long long>(dataset->size()));
  };
  TEC_RETURN_IF_ERROR(WritePack(*dataset, output, progress));
  std::fprintf(stderr, "\r");
  std::printf("%s: %lld pictures, %zu classes\n", output.c_str(), static_cast<long long>(dataset->size()),
              dataset->classes().size());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, Flags());
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? Run() : parsed.status();
  if (!status.ok()) std::fprintf(stderr, "shard: %s\n", std::string(status.message()).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::Main(argc, argv); }
