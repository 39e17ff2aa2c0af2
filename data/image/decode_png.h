#ifndef TEC_DATA_IMAGE_DECODE_PNG_H_
#define TEC_DATA_IMAGE_DECODE_PNG_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"

namespace tec {

// DecodeImage for bytes that start as a PNG; not for 1 channel. May throw std::bad_alloc.
absl::Status DecodePng(absl::string_view bytes, Image* image, int channels = 3);

// DecodeIndexImage (index_image.h) for the same. May throw std::bad_alloc.
absl::Status DecodePngNumbers(absl::string_view bytes, Image* image);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_DECODE_PNG_H_
