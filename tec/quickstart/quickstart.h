// The embedded default of //tec:pretrain, which shows on a machine without anything that TEC works: makes pictures,
// trains a base model on them (MAE), pretrains a new model against it (TEC), and compares an untrained encoder, the
// base model and the new model on held-out pictures. Everything goes through the same code as a real run.

#ifndef TEC_QUICKSTART_QUICKSTART_H_
#define TEC_QUICKSTART_QUICKSTART_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/config/experiment.pb.h"

namespace tec {

// Accuracy of one encoder's frozen features on the held-out pictures, percent.
struct QuickstartRow {
  std::string encoder;  // "untrained", "base model (MAE)", "new model (TEC)"
  double knn_top1 = 0;
  double linear_top1 = 0;
};

// What the quickstart has made when it comes to compare.
struct QuickstartRuns {
  std::string pictures;               // A folder with train/ and test/.
  std::string base_model, new_model;  // The last checkpoints of the two runs.
};

// Compares an untrained encoder, the base model and the new model on the held-out pictures, a row each.
using QuickstartComparison = std::function<absl::StatusOr<std::vector<QuickstartRow>>(
    const config::Quickstart& resolved, const QuickstartRuns& runs)>;

// Begins to watch a run, and gives what is to be called when it has ended, with whether it came to its end: makes the
// run's page and returns its path, empty if there is none.
using WatchRun = std::function<std::function<std::string(bool finished)>(const config::Experiment& run)>;

struct QuickstartResult {
  std::vector<QuickstartRow> rows;
  std::string report;  // Path of the new model's page; empty: none.
  double seconds = 0;
};

// `resolved`: as Resolve in tec/config/config.h gives it. Leaves in output_dir: pictures/, mae/, tec/ (the two runs)
// and results.json. Called again it goes on where it was stopped. Prints what it does, and the table, to standard
// output. `watch`: of both runs; null: there are no pages. Cancelled if it was asked to stop (SIGINT, SIGTERM) and has
// saved; the errors of making pictures, training and evaluating.
absl::StatusOr<QuickstartResult> RunQuickstart(const config::Quickstart& resolved, const QuickstartComparison& compare,
                                               const WatchRun& watch = nullptr);

// The table as text, one line a row.
std::string FormatRows(const std::vector<QuickstartRow>& rows);

}  // namespace tec

#endif  // TEC_QUICKSTART_QUICKSTART_H_
