#ifndef TEC_DATA_IMAGE_DECODE_JPEG_H_
#define TEC_DATA_IMAGE_DECODE_JPEG_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"

namespace tec {

// DecodeImage and DecodeImageRegion for bytes that start as a JPEG. May throw std::bad_alloc.
absl::Status DecodeJpeg(absl::string_view bytes, Image* image);
absl::Status DecodeJpegRegion(absl::string_view bytes, absl::FunctionRef<Box(int height, int width)> choose,
                              ImageRegion* region);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_DECODE_JPEG_H_
