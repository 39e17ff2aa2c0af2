// Which checks the files of a directory allow, and their run, each in a process of its own: what a check makes of a
// file, be it a crash, must not touch the others, and a large model's memory goes back at its end.

#ifndef TEC_TOOLS_GOLDENS_DIRECTORY_H_
#define TEC_TOOLS_GOLDENS_DIRECTORY_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/goldens/golden_item.h"

namespace tec {

struct GoldenJob {
  std::string name;  // "tec_tiny"
  GoldenCheck check = nullptr;
  std::set<std::string> files;       // Of the directory, that belong to it.
  std::vector<std::string> missing;  // Without which it cannot be done.
};

struct GoldenDirectory {
  std::vector<GoldenJob> jobs;     // In the order of tec/testing/goldens/README.md.
  std::set<std::string> files;     // All, by their path in the directory.
  std::set<std::string> explains;  // README and the like: nothing to compare.
};

// NotFound or PermissionDenied names the directory.
absl::StatusOr<GoldenDirectory> ListGoldens(const std::string& directory);

struct GoldenOutcome {
  std::vector<GoldenRow> rows;
  std::set<std::string> files;  // Understood by the check.
};

// Runs a check in a child process. If that ends otherwise than by itself, a row says how. record_to: with
// options.record, where the child writes what it computed (GoldenItem::RecordTo).
GoldenOutcome RunGoldenJob(const std::string& directory, const GoldenJob& job, const GoldenOptions& options,
                           const std::string& record_to = "");

// One table of rows, aligned; rows of a group that passed are one line. Ends with a newline.
std::string FormatGoldenRows(const std::vector<GoldenRow>& rows, bool header);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_DIRECTORY_H_
