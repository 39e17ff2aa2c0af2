// What a file is that is no image we decode, for people who believe that it is one.

#ifndef TEC_DATA_IMAGE_DESCRIBE_UNKNOWN_H_
#define TEC_DATA_IMAGE_DESCRIBE_UNKNOWN_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tec {

// "not an image: " and what the first bytes tell: another program's file, a failed download, an image of a format that
// has no decoder here. For `bytes`, not empty, whose format SniffImageFormat does not know.
std::string DescribeUnknown(absl::string_view bytes);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_DESCRIBE_UNKNOWN_H_
