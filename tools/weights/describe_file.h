// What a weight file holds, and how two of them differ: the text of //tools:inspect and //tools:diff.

#ifndef TEC_TOOLS_WEIGHTS_DESCRIBE_FILE_H_
#define TEC_TOOLS_WEIGHTS_DESCRIBE_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_file.h"

namespace tec {

// Container, checksum, entries with the values in them (a run's arguments, its experiment), each tensor's type, shape
// and statistics, and the family with its report, or why it is no base model. `request`: what the file
// does not tell. `path` may be a folder (WeightFileIn). Control characters of the file are shown as \xNN. An error is
// why the file is refused.
absl::StatusOr<std::string> DescribeFile(const std::string& path, const VitRequest& request = {});

struct FileDifference {
  bool equal = false;  // Same names, types, shapes and bits.
  std::string text;    // A line for each tensor that is not the same in both, with the largest difference, and a sum.
};

// Tensors go by their path in the file; where the models of the two are at different places ("model/", "state_dict/",
// the file itself), by their path in the model. An error is why a file is refused.
absl::StatusOr<FileDifference> DiffFiles(const std::string& a, const std::string& b);

}  // namespace tec

#endif  // TEC_TOOLS_WEIGHTS_DESCRIBE_FILE_H_
