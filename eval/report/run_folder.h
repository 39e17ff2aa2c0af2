// What an output folder of any program of this project tells: settings, epochs, accuracies, how far it came. Read from
// the files that the program left; nothing of a run's own code is needed, and no tensor is read.

#ifndef TEC_EVAL_REPORT_RUN_FOLDER_H_
#define TEC_EVAL_REPORT_RUN_FOLDER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace tec {

enum class RunKind { kPretraining, kFinetuning, kEvaluation };

struct RunFolder {
  std::string path;
  std::string name;  // On pages; empty: the folder's.
  RunKind kind = RunKind::kEvaluation;
  std::string what;  // "TEC pretraining", "MAE pretraining", "finetuning", "linear probe", "kNN", "logistic
                     // regression", "segmentation".

  // By dotted names, "optimizer.batch_size" or, of evaluators, as in results.json; each once.
  std::vector<std::pair<std::string, std::string>> settings;
  int64_t epochs = 0;  // That the run is to have; 0: it has no epochs, or its settings are gone.

  std::vector<nlohmann::json> epoch_log;  // Lines of log.txt.
  nlohmann::json results;                 // results.json; null: none.
  std::string newest_checkpoint;          // File name; empty: none.
  int64_t modified = 0;                   // Of the newest file of it, seconds since 1970.

  // Epochs whose line is in the log.
  int64_t epochs_done() const;
  // The highest top-1 accuracy or, of a segmentation, mean IoU, percent, and what it is of: {"test_acc1", 84.1},
  // {"miou knn", 44.8}, ...
  std::optional<std::pair<std::string, double>> best() const;
  // "finished", "epoch 12 of 100", "evaluated", "no epoch finished".
  std::string state() const;
  // Of TensorBoard's events: its log_dir, or the folder itself.
  std::string events_folder() const;
};

// NotFound where there is no folder; InvalidArgument where the folder holds no run. A line of a log that cannot be read
// (a run may be writing it) is passed over.
absl::StatusOr<RunFolder> ReadRunFolder(const std::string& path);

// Folders of runs at `root` and below it, at most `depth` levels, in bytewise order of their paths. Folders without a
// run are passed over; what is within a run's folder (features, say) is not looked into, its subfolders that are runs
// themselves are.
absl::StatusOr<std::vector<RunFolder>> FindRuns(const std::string& root, int depth = 4);

// A setting that is not the same in all of some runs.
struct SettingDifference {
  std::string name;
  std::vector<std::string> values;  // One a run; "-" where it is not set.
};
// In the order in which the runs name them. Where results go (logging.*) is no setting.
std::vector<SettingDifference> DifferencesOf(const std::vector<RunFolder>& runs);

// JSON objects, one a line. NaN and infinite numbers, which a log may hold and JSON has not, become null.
std::vector<nlohmann::json> ParseJsonLines(const std::string& text);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_FOLDER_H_
