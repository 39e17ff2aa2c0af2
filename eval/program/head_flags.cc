#include "eval/program/head_flags.h"

#include <cmath>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "eval/report/background_report.h"
#include "eval/report/picture_process.h"
#include "tec/base/path.h"
#include "tec/base/status.h"

ABSL_FLAG(std::string, log_dir, "", "TensorBoard events; empty: output_dir.");
ABSL_FLAG(std::string, resume, "", "Checkpoint to go on from; unless given, the newest of output_dir, if any.");
ABSL_FLAG(bool, eval, false, "Only evaluate output_dir's best_checkpoint.pth, or --resume.");
ABSL_FLAG(int64_t, print_freq, 20, "Micro-steps between two printed lines where there is no terminal.");
ABSL_FLAG(bool, report, true, "Write report.html, a page to look at, into output_dir in the background.");
ABSL_FLAG(double, report_seconds, 10, "That drawing the page's pictures may take at the end.");

namespace tec {

FlagGroup HeadOutputFlags() {
  return {"Results, checkpoints and logs", {{"eval"}, {"log_dir"}, {"resume"}, {"print_freq"}}};
}

std::vector<FlagSpec> ReportFlags() { return {{"report"}, {"report_seconds"}}; }

absl::Status ReadHeadFlags(HeadRunOptions* options) {
  if (options->frozen.output_dir.empty()) options->frozen.output_dir = UserPath("output_dir");
  options->resume = UserPath(absl::GetFlag(FLAGS_resume));
  options->eval = absl::GetFlag(FLAGS_eval);
  options->log_dir = UserPath(absl::GetFlag(FLAGS_log_dir));
  options->print_freq = absl::GetFlag(FLAGS_print_freq);
  return CheckAtLeast("print_freq", options->print_freq, 1);
}

absl::Status CheckAtLeast(const char* flag, int64_t value, int64_t least) {
  if (value >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": it must be at least ", least));
}

absl::Status CheckNotNegative(const std::vector<std::pair<const char*, double>>& flags) {
  for (const auto& [name, value] : flags) {
    if (!(value >= 0) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, "=", value, ": it must be a number from 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status RunWithPage(const std::string& output_dir, bool draws,
                         const std::function<absl::StatusOr<LoopResult>()>& run) {
  BackgroundReportOptions page;
  if (absl::GetFlag(FLAGS_report)) page.folder = output_dir;
  if (draws) page.pictures = SectionsByProcess;
  page.last_seconds = absl::GetFlag(FLAGS_report_seconds);
  TEC_RETURN_IF_ERROR(CheckNotNegative({{"report_seconds", page.last_seconds}}));
  page.pictures_of_results = true;
  TEC_ASSIGN_OR_RETURN(const LoopResult result, WithReport<LoopResult>(std::move(page), run));
  return result.stopped ? absl::CancelledError("stopped on request") : absl::OkStatus();
}

}  // namespace tec
