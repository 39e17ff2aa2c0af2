// Pictures of a run drawn by a process of its own, so that nothing that goes wrong there, memory included, can hold up
// the program that trains: the same program started again, which the environment tells what to do.

#ifndef TEC_EVAL_REPORT_PICTURE_PROCESS_H_
#define TEC_EVAL_REPORT_PICTURE_PROCESS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/report/run_folder.h"
#include "eval/report/run_report.h"

namespace tec {

using DrawSections = std::function<absl::StatusOr<std::vector<ReportSection>>(const RunFolder& run)>;

// To be called first in main(): where this process was started by SectionsByProcess, draws, and returns its exit code.
std::optional<int> DrawIfAsked(const DrawSections& draw);

// Starts this program again to draw the run's pictures, and waits. `stop` is asked now and then; once it says yes the
// process is ended: Cancelled. The drawing's own errors; Internal where the process ended without having drawn.
absl::StatusOr<std::vector<ReportSection>> SectionsByProcess(const RunFolder& run, const std::function<bool()>& stop);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_PICTURE_PROCESS_H_
