// A part of the training images put aside, to choose a setting by.

#ifndef TEC_EVAL_LOGISTIC_VALIDATION_SPLIT_H_
#define TEC_EVAL_LOGISTIC_VALIDATION_SPLIT_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"

namespace tec {

struct ValidationSplit {
  at::Tensor fitted, validation;  // int64 rows, ascending; together every row once.
};

// Puts aside `fraction` of the rows of each class, rounded up, but never its last row. labels: int64 [n], on the CPU,
// in 0..classes-1. A function of the labels and the seed. InvalidArgument where no class has two rows.
absl::StatusOr<ValidationSplit> SplitForValidation(const at::Tensor& labels, int64_t classes, double fraction,
                                                   uint64_t seed);

}  // namespace tec

#endif  // TEC_EVAL_LOGISTIC_VALIDATION_SPLIT_H_
