// What a linear-probe run tells at its end, and --eval alone: the best head on the held-out images, on the console and
// in results.json.

#ifndef TEC_EVAL_LINEAR_LINEAR_REPORT_H_
#define TEC_EVAL_LINEAR_LINEAR_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/linear/linear_heads.h"
#include "eval/linear/linear_inputs.h"
#include "eval/linear/run_linear.h"

namespace tec {

// Names in the checkpoints of a probe. Written into files: never rename.
inline constexpr char kLinearMethod[] = "linear";
inline constexpr char kBestCheckpoint[] = "best_checkpoint.pth";
inline constexpr char kHeadFeatures[] = "features";
inline constexpr char kHeadRate[] = "rate";

// Evaluates the head in the file best_path, a best_checkpoint.pth. heads: all of them after the last epoch, for a
// table; null in an evaluation alone. last_epoch: their accuracies; computed if empty. inputs.held_out is there.
// Returns the head's top-1, percent. InvalidArgument for a file that is no such head, or one for other features,
// classes or another encoder.
absl::StatusOr<double> ReportBestHead(const LinearRunOptions& options, const LinearInputs& inputs,
                                      const std::string& best_path, const LinearHeads* heads = nullptr,
                                      std::vector<LinearHeads::Accuracy> last_epoch = {});

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_LINEAR_REPORT_H_
