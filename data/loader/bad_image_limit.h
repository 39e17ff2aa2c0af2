// How many images of a data set may be unreadable, and what is said when there are more: of one loader, or of several
// that share a data set.

#ifndef TEC_DATA_LOADER_BAD_IMAGE_LIMIT_H_
#define TEC_DATA_LOADER_BAD_IMAGE_LIMIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tec {

// Of `images`, by LoaderOptions::max_bad_fraction.
int64_t BadImagesAllowed(double max_bad_fraction, int64_t images);

// "NAME: REASON", fit to be printed.
std::string BadImageLine(const std::string& name, const absl::Status& reason);

// DataLoss. `lines`: of all that cannot be read.
absl::Status TooManyBadImages(const std::vector<std::string>& lines, double max_bad_fraction, int64_t images);

}  // namespace tec

#endif  // TEC_DATA_LOADER_BAD_IMAGE_LIMIT_H_
