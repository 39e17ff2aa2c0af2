// Labels of a held-out set in the training set's numbers.
//
// Two folders number their classes apart. Where the held-out one lacks a class, every later number is off by one, and
// an evaluation that compares numbers is silently wrong; so classes are matched by name.

#ifndef TEC_EVAL_METRICS_CLASS_MAP_H_
#define TEC_EVAL_METRICS_CLASS_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tec {

// For each held-out label the training label of the same class. A training class without held-out images is fine.
// InvalidArgument, listing the first of them, for held-out classes that the training set lacks.
absl::StatusOr<std::vector<int64_t>> MapClasses(const std::vector<std::string>& training,
                                                const std::vector<std::string>& held_out);

}  // namespace tec

#endif  // TEC_EVAL_METRICS_CLASS_MAP_H_
