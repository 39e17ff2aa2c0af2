// --confusion, the same in every evaluator that has this library.

#ifndef TEC_EVAL_METRICS_CONFUSION_FILE_H_
#define TEC_EVAL_METRICS_CONFUSION_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "eval/metrics/report.h"
#include "tec/config/flag_parser.h"

namespace tec {

// Of --confusion.
FlagGroup ConfusionFlags();

// InvalidArgument if --confusion is given without an output_dir. For before any work.
absl::Status CheckConfusionFlag(const std::string& output_dir);

// If --confusion is given: OUTPUT_DIR/confusion<which>.npy (WriteConfusion); prints its path.
absl::Status WriteConfusionFile(const std::string& output_dir, const ClassificationReport& report,
                                const std::string& which = "");

}  // namespace tec

#endif  // TEC_EVAL_METRICS_CONFUSION_FILE_H_
