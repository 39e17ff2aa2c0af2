// //tools:shard: a data set as one file, with the pictures' bytes unchanged.
//
//   ./bazelw run //tools:shard -- --data_path=/imagenet --output=/fast/train.tecpack
//   ./bazelw run //tools:shard -- --data_path=/imagenet --split=held_out --output=/fast/val.tecpack
//   ./bazelw run //eval:finetune -- --data_path=/fast ...
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, or pictures of broken archives are missing.

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "data/dataset/pack.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"
#include "tec/run/count_progress.h"
#include "tec/run/folder_lock.h"

ABSL_FLAG(std::string, data_path, "", "class folders, a folder of pictures, a list file, tar or zip archives");
ABSL_FLAG(std::string, output, "", "the packed file; its name must end in .tecpack");
ABSL_FLAG(
    std::string, split, "train",
    "train: data_path/train if there is one, else data_path itself; held_out: its val or test; whole: itself in any "
    "case, so that class folders called train and val are packed as classes");
ABSL_FLAG(std::string, exclude, "",
          "shell patterns (*, ?, [...]) of files and folders of the data set to leave out, with commas between them");
ABSL_FLAG(bool, labels, true,
          "keep the labels; --nolabels packs for pretraining alone what has none or not for all: folders at will");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Packs a data set into one file: every picture's bytes as they are, its name and its label.\n\n"
    "  ./bazelw run //tools:shard -- --data_path=/imagenet --output=/fast/train.tecpack\n"
    "  ./bazelw run //tools:shard -- --data_path=/imagenet --split=held_out --output=/fast/val.tecpack\n"
    "  ./bazelw run //eval:finetune -- --data_path=/fast ...\n\n";

std::vector<FlagGroup> Flags() { return {{"Data", {{"data_path"}, {"exclude"}, {"split"}, {"labels"}, {"output"}}}}; }

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
  DatasetOptions options;
  options.labels = absl::GetFlag(FLAGS_labels);
  options.exclude = ParseExclude(absl::GetFlag(FLAGS_exclude));
  absl::StatusOr<std::unique_ptr<Dataset>> opened = OpenDataset(path, split, options);
  if (absl::IsInvalidArgument(opened.status()) && options.labels) {
    return absl::InvalidArgumentError(absl::StrCat(
        opened.status().message(), " (--nolabels packs without labels what pretraining alone would take)"));
  }
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<Dataset> dataset, std::move(opened));
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, FolderLock::TakeForFile(output, "--output"));
  {
    CountProgress count("packing", stderr);
    TEC_RETURN_IF_ERROR(WritePack(*dataset, output, [&](int64_t done) { count.Update(done, dataset->size()); }));
  }
  std::printf(
      "%s: %lld %spictures of %s, %s\n", Printable(output).c_str(), static_cast<long long>(dataset->size()),
      split == Split::kTrain     ? "training "
      : split == Split::kHeldOut ? "held-out "
                                 : "",
      Printable(path).c_str(),
      dataset->labelled() ? absl::StrCat("in ", dataset->classes().size(), " classes").c_str() : "without labels");
  if (dataset->defects().empty()) return absl::OkStatus();
  std::string lost;
  for (const std::string& defect : dataset->defects()) absl::StrAppend(&lost, "\n  ", defect);
  return absl::DataLossError(
      absl::StrCat(output, " is written, but without the pictures that are lost in broken archives:", lost));
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, Flags());
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? Run() : parsed.status();
  return ReportStatus("shard", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
