// The quickstart's evaluation (tec/quickstart): frozen features of an untrained encoder, the base model and the new
// model, on the held-out pictures.

#ifndef TEC_EVAL_QUICKSTART_COMPARE_ENCODERS_H_
#define TEC_EVAL_QUICKSTART_COMPARE_ENCODERS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "tec/quickstart/quickstart.h"

namespace tec {

// A QuickstartComparison. Errors are those of reading pictures and checkpoints.
absl::StatusOr<std::vector<QuickstartRow>> CompareEncoders(const config::Quickstart& resolved,
                                                           const QuickstartRuns& runs);

}  // namespace tec

#endif  // TEC_EVAL_QUICKSTART_COMPARE_ENCODERS_H_
