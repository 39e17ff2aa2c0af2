// Paths that stand for several: "train-{000..003}.tar".

#ifndef TEC_DATA_DATASET_PATHS_H_
#define TEC_DATA_DATASET_PATHS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// Expands braces as a shell does: {a,b} and whole numbers {000..123}, with as many digits as the longer of both has if
// one begins with 0; several of them in one path, too. A path without any is itself. InvalidArgument for a brace that
// does not end, and for more than 1,000,000 paths.
absl::StatusOr<std::vector<std::string>> ExpandBraces(absl::string_view path);

}  // namespace tec

#endif  // TEC_DATA_DATASET_PATHS_H_
