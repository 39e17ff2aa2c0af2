// Reading of images that does not give up at the first error of the system.

#ifndef TEC_DATA_DATASET_PATIENT_READ_H_
#define TEC_DATA_DATASET_PATIENT_READ_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/dataset/dataset.h"

namespace tec {

// Dataset::Read(), and again after pauses, for 2.6 seconds altogether, as long as the error says nothing of the image
// and may pass (MayPass in tec/base/system_error.h). Unavailable, and nothing else is, where it does not pass: no image
// is to blame.
absl::Status ReadPatiently(const Dataset& dataset, int64_t index, std::string* bytes);

}  // namespace tec

#endif  // TEC_DATA_DATASET_PATIENT_READ_H_
