#ifndef TEC_DATA_IMAGE_DECODE_JPEG_H_
#define TEC_DATA_IMAGE_DECODE_JPEG_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"

namespace tec {

// DecodeImage for bytes that start as a JPEG. May throw std::bad_alloc.
absl::Status DecodeJpeg(absl::string_view bytes, Image* image);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_DECODE_JPEG_H_
