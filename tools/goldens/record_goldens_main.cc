// //tools:record_goldens: what this build computes, in the format of the stored numbers.
//
//   ./bazelw run //tools:record_goldens -- --from=tec/testing/goldens --to=/tmp/ours
//   ./bazelw run //tools:check_goldens -- --dir=/tmp/ours             # on another machine, or from another commit
//
// Exit codes: 0 done, 1 bad use, 2 failed.

#include <fnmatch.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"
#include "tools/goldens/directory.h"

ABSL_FLAG(std::string, from, "", "A directory in the format of tec/testing/goldens/README.md: its inputs are taken.");
ABSL_FLAG(std::string, to, "", "The directory to write; made if it is missing, and must be empty.");
ABSL_FLAG(std::string, only, "*", "Only items of these names, a shell pattern.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Writes a directory of stored numbers whose results are this build's: the same files, names, inputs and metadata, "
    "so\n"
    "that //tools:check_goldens of another build, or on another machine, compares with this one.\n"
    "\n"
    "  ./bazelw run //tools:record_goldens -- --from=tec/testing/goldens --to=/tmp/ours\n"
    "\n"
    "Files whose results are files themselves (checkpoints, images) are copied. inventory.json is left out: it "
    "describes\n"
    "the files of the source.\n"
    "\n"
    "Exit codes: 0 done, 1 bad use, 2 failed.\n";

std::vector<FlagGroup> Flags() { return {{"Flags", {FlagSpec{"from", ""}, FlagSpec{"to", ""}, FlagSpec{"only", ""}}}}; }

absl::Status Record(const std::string& from, const std::string& to, const std::string& only) {
  if (from.empty() || to.empty()) return absl::InvalidArgumentError("--from and --to are needed");
  TEC_ASSIGN_OR_RETURN(const GoldenDirectory goldens, ListGoldens(from));
  TEC_RETURN_IF_ERROR(MakeDirectories(to));
  if (!std::filesystem::is_empty(to)) return absl::FailedPreconditionError(absl::StrCat(to, " is not empty"));
  GoldenOptions options;
  options.progress = true;
  options.record = true;
  int64_t recorded = 0, incomplete = 0;
  for (const GoldenJob& job : goldens.jobs) {
    if (fnmatch(only.c_str(), job.name.c_str(), 0) != 0 || job.name == "inventory" || !job.missing.empty()) continue;
    for (const std::string& file : job.files) {
      const std::string target = absl::StrCat(to, "/", file);
      TEC_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(target).parent_path().string()));
      TEC_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(absl::StrCat(from, "/", file)));
      TEC_RETURN_IF_ERROR(WriteFile(target, bytes));
    }
    const GoldenOutcome outcome = RunGoldenJob(from, job, options, to);
    ++recorded;
    for (const GoldenRow& row : outcome.rows) {
      // A difference from the source is what is recorded; an error is not.
      if (row.pass || row.quantity.empty() || row.quantity[0] != '(') continue;
      ++incomplete;
      std::printf("%s: not all was recorded: %s\n", job.name.c_str(), row.where.c_str());
    }
  }
  std::printf("%lld items recorded in %s\n", static_cast<long long>(recorded), to.c_str());
  if (recorded == 0) return absl::NotFoundError(absl::StrCat("no item of ", from, " can be recorded"));
  return incomplete == 0 ? absl::OkStatus() : absl::InternalError(absl::StrCat(incomplete, " items are incomplete"));
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> flags = ParseFlags(argc, argv, Flags());
  if (flags.ok() && flags->help) {
    std::printf("%s\n%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::Status status = flags.ok() ? Record(UserPath(absl::GetFlag(FLAGS_from)),
                                                  UserPath(absl::GetFlag(FLAGS_to)), absl::GetFlag(FLAGS_only))
                                         : flags.status();
  return ReportStatus("record_goldens", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
