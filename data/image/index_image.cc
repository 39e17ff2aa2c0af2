#include "data/image/index_image.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "data/image/decode.h"
#include "data/image/decode_png.h"

namespace tec {

absl::Status DecodeIndexImage(absl::string_view bytes, Image* image) {
  const ImageFormat format = SniffImageFormat(bytes);
  if (format != ImageFormat::kPng) {
    return absl::InvalidArgumentError(
        absl::StrCat("a mask must be a PNG whose pixels are numbers of classes; the format of this file is ",
                     ImageFormatName(format)));
  }
  try {
    return DecodePngNumbers(bytes, image);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("not enough memory to decode the mask");
  }
}

}  // namespace tec
