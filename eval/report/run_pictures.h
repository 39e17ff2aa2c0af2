// What a pretraining run's models make of a few fixed pictures, from its checkpoints: attention, common colours of
// patch features, relations, reconstructions, neighbours; and whether the new model is better than its base model.

#ifndef TEC_EVAL_REPORT_RUN_PICTURES_H_
#define TEC_EVAL_REPORT_RUN_PICTURES_H_

#include <cstdint>
#include <functional>
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
};

// Sections of a run's page. Pictures that cannot be read are left out, by name. InvalidArgument for a folder that is no
// pretraining run or has no checkpoint yet; other errors are those of reading experiment, data set and weights.
absl::StatusOr<std::vector<ReportSection>> RunPictures(const RunFolder& run, const RunPicturesOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_PICTURES_H_
