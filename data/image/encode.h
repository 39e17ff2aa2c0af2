// Pixels to JPEG and PNG files, for made pictures and for tests.

#ifndef TEC_DATA_IMAGE_ENCODE_H_
#define TEC_DATA_IMAGE_ENCODE_H_

#include <string>

#include "absl/status/statusor.h"
#include "data/image/image.h"

namespace tec {

struct JpegOptions {
  int quality = 90;              // 1 to 100, libjpeg's scale.
  bool subsample_chroma = true;  // 4:2:0, as cameras do; false: 4:4:4.
  bool progressive = false;
};

// RGB. The same pixels and options give the same bytes. InvalidArgument for an empty image or one above 65,500 pixels a
// side.
absl::StatusOr<std::string> EncodeJpeg(const Image& image, const JpegOptions& options = {});

// Lossless. Channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. InvalidArgument for an empty image or others.
absl::StatusOr<std::string> EncodePng(const Image& image);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_ENCODE_H_
