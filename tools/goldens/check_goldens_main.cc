// //tools:check_goldens: our numbers against stored ones.
//
//   ./bazelw run //tools:check_goldens -- --dir=tec/testing/goldens
//
// Exit codes: 0 everything passed, 1 bad use, 2 something failed.

#include <fnmatch.h>

#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tec/config/flag_parser.h"
#include "tools/goldens/directory.h"

ABSL_FLAG(std::string, dir, "",
          "A directory in the format of tec/testing/goldens/README.md, or with a part of its files.");
ABSL_FLAG(std::string, only, "*", "Only items of these names, a shell pattern: --only='full_*'.");
ABSL_FLAG(std::string, precision, "float32",
          "float32, or bfloat16: models compute in mixed precision, and are compared to 1 % of a loss and by the "
          "direction of everything else.");
ABSL_FLAG(bool, all, false, "Show every comparison, also those that passed as one of a group.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Computes what the files of a directory hold numbers for, by the code that trains and evaluates, and compares.\n"
    "\n"
    "  ./bazelw run //tools:check_goldens -- --dir=tec/testing/goldens\n"
    "\n"
    "A line each: item; quantity; largest absolute error; the same relative to the largest value of the quantity "
    "(where\n"
    "the tolerance is relative: to each value; by direction: 1 - cosine); tolerance; pass or FAIL; where the largest\n"
    "error is, or what is wrong. Failures are a NaN, a wrong shape, a missing tensor or file of an item, and what no "
    "check\n"
    "reads: a file, a tensor, an entry. An item whose inputs lie in another file that is not there is named and not\n"
    "counted. The last line is \"N passed, M failed\".\n"
    "\n"
    "Exit codes: 0 everything passed, 1 bad use, 2 something failed.\n";

std::vector<FlagGroup> Flags() {
  return {{"Flags", {FlagSpec{"dir", ""}, FlagSpec{"only", ""}, FlagSpec{"precision", ""}, FlagSpec{"all", ""}}}};
}

int BadUse(const std::string& message) { return ReportStatus("check_goldens", absl::InvalidArgumentError(message)); }

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> flags = ParseFlags(argc, argv, Flags());
  if (!flags.ok()) return BadUse(std::string(flags.status().message()));
  if (flags->help) {
    std::printf("%s\n%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const std::string precision = absl::GetFlag(FLAGS_precision), only = absl::GetFlag(FLAGS_only);
  if (precision != "float32" && precision != "bfloat16") {
    return BadUse(absl::StrCat("--precision=", precision, ": float32 or bfloat16"));
  }
  if (absl::GetFlag(FLAGS_dir).empty()) return BadUse("--dir is needed: the directory with the stored numbers");
  const std::string directory = UserPath(absl::GetFlag(FLAGS_dir));
  const absl::StatusOr<GoldenDirectory> goldens = ListGoldens(directory);
  if (!goldens.ok()) return BadUse(std::string(goldens.status().message()));

  GoldenOptions options;
  options.bfloat16 = precision == "bfloat16";
  options.progress = true;
  std::set<std::string> understood = goldens->explains;
  std::vector<std::string> not_checked, names;
  int64_t passed = 0, failed = 0;
  bool header = true;
  const auto show = [&](std::vector<GoldenRow> rows) {
    for (GoldenRow& row : rows) {
      ++(row.pass ? passed : failed);
      if (absl::GetFlag(FLAGS_all)) row.group.clear();
    }
    std::fputs(FormatGoldenRows(rows, header).c_str(), stdout);
    std::fflush(stdout);
    header = false;
  };
  bool any = false;
  for (const GoldenJob& job : goldens->jobs) {
    names.push_back(job.name);
    if (fnmatch(only.c_str(), job.name.c_str(), 0) != 0) continue;
    any = true;
    if (!job.missing.empty()) {
      understood.insert(job.files.begin(), job.files.end());
      not_checked.push_back(absl::StrCat(job.name, ", which needs ", absl::StrJoin(job.missing, " and ")));
      continue;
    }
    const GoldenOutcome outcome = RunGoldenJob(directory, job, options);
    understood.insert(outcome.files.begin(), outcome.files.end());
    show(outcome.rows);
  }
  if (!any && only != "*") {
    return BadUse(absl::StrCat("--only=", only, " matches no item; there are ", absl::StrJoin(names, ", ")));
  }
  if (only == "*") {
    std::vector<GoldenRow> unknown;
    for (const std::string& file : goldens->files) {
      if (understood.count(file) != 0) continue;
      GoldenRow row;
      row.item = "(directory)";
      row.quantity = file;
      row.tolerance = "-";
      row.where = "no check reads this file";
      unknown.push_back(row);
    }
    if (!unknown.empty()) show(unknown);
  }
  for (const std::string& item : not_checked) std::printf("not checked: %s\n", item.c_str());
  if (passed + failed == 0) std::printf("nothing in %s can be checked\n", directory.c_str());
  std::printf("%lld passed, %lld failed\n", static_cast<long long>(passed), static_cast<long long>(failed));
  return failed == 0 && passed > 0 ? kExitDone : kExitFailed;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
