// What a run's models make of a few fixed pictures, from its checkpoints: attention, common colours of patch features,
// relations, reconstructions, neighbours, augmentation; and whether the new model is better than what it began with.

#ifndef TEC_EVAL_REPORT_RUN_PICTURES_H_
#define TEC_EVAL_REPORT_RUN_PICTURES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/report/run_folder.h"
#include "eval/report/run_report.h"

namespace tec {

struct RunPicturesOptions {
  std::string data_path;   // Empty: the run's own.
  std::string base_model;  // Empty: the run's own.
  std::string device = "cpu";
  int64_t images = 16;         // Shown; evenly spaced over the data set, so the same for every epoch and run.
  int64_t bank = 1000;         // Compared with: for kNN, neighbours and the measures of collapse. Evenly spaced too.
  int64_t neighbours = 5;      // Shown of each.
  int threads = 1;             // That decode.
  std::function<bool()> stop;  // As in FeatureOptions.
  // Where the pictures and vectors of them are written for TensorBoard, too (tensorboard_folder.h); empty: nowhere.
  std::string tensorboard_folder;
  bool histograms = false;  // There: of weights and features.
};

// Sections of a run's page. Pictures that cannot be read are left out, by name. InvalidArgument for a folder that names
// no encoder or has no checkpoint yet; other errors are those of reading experiment, data set and weights.
absl::StatusOr<std::vector<ReportSection>> RunPictures(const RunFolder& run, const RunPicturesOptions& options);

// Where a run's folder for TensorBoard is: "tensorboard" in that of its events.
std::string TensorBoardFolderOf(const RunFolder& run);

// To be called first in the main() of a program that has a BackgroundReport with SectionsByProcess for its pictures:
// where this process was started to draw them, does so and returns its exit code.
std::optional<int> DrawRunPicturesIfAsked();

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_PICTURES_H_
