// One page for a run, or for several side by side: curves, accuracies, settings, files, what went wrong.

#ifndef TEC_EVAL_REPORT_RUN_REPORT_H_
#define TEC_EVAL_REPORT_RUN_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "eval/report/run_folder.h"

namespace tec {

// HTML that others add: a heading, an id for links within the page, and what stands below it.
struct ReportSection {
  std::string id, title, html;
};

// The page. `sections` come after the curves, `first` before everything, its title the page's. Several runs: their
// curves overlaid and the settings that differ. What a run's folder lacks is left out; the page says when it was made,
// and for what.
std::string FormatRunReport(const std::vector<RunFolder>& runs, const std::vector<ReportSection>& sections,
                            const std::optional<ReportSection>& first = std::nullopt);

// What in a run asks for attention, a sentence each: waiting for data, skipped updates, unreadable pictures, a
// warm-up longer than the run.
std::vector<std::string> WarningsOf(const RunFolder& run);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_REPORT_H_
