// How the images of a weight file's model are normalised, as the files beside it say it: Hugging Face's
// preprocessor_config.json, OpenCLIP's open_clip_config.json.

#ifndef TEC_CHECKPOINT_FAMILIES_IMAGE_STATISTICS_H_
#define TEC_CHECKPOINT_FAMILIES_IMAGE_STATISTICS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tec {

// A pixel x in [0, 1] of channel i is seen as (x - mean[i]) / std[i]. Empty: not known.
struct ImageStatistics {
  std::vector<float> mean, std;
  std::string source;  // "PATH/preprocessor_config.json", or why it is assumed.
  bool known() const { return !mean.empty(); }
};

// Of the folder that `file` is in; empty where none of them says it. InvalidArgument: one of them is no small JSON
// object, or has as many means as it has no deviations, or a deviation that is not positive.
absl::StatusOr<ImageStatistics> ReadImageStatisticsBeside(const std::string& file);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_IMAGE_STATISTICS_H_
