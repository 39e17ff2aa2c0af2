// Fits of logistic regression that are kept in a folder: a run of several that is stopped, or dies, goes on with the
// next one.

#ifndef TEC_EVAL_LOGISTIC_STORED_FIT_H_
#define TEC_EVAL_LOGISTIC_STORED_FIT_H_

#include <cstdint>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "eval/linear/logistic.h"

namespace tec {

// A number for what is fitted to: the values and labels, both on the CPU.
uint64_t FingerprintOfProblem(const at::Tensor& features, const at::Tensor& labels);

struct StoredFit {
  LogisticProbe probe;
  bool taken = false;  // From the folder: nothing was fitted.
};

// As FitLogistic, but a fit that `folder` holds of the same problem (FingerprintOfProblem), number of classes, device
// and options is read, the same to the bit, and a new one is written there. One that cannot be read is logged and done
// again. Empty folder: none is kept. Further errors are those of writing.
absl::StatusOr<StoredFit> FitStored(const std::string& folder, uint64_t problem, const at::Tensor& features,
                                    const at::Tensor& labels, int64_t classes, const LogisticOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_LOGISTIC_STORED_FIT_H_
