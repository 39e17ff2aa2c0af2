// Any bytes as a mask: what is one is a picture, too, of the same size, in which equal numbers have equal colours.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "absl/strings/string_view.h"
#include "data/image/decode.h"
#include "data/image/index_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  tec::Image mask, picture;
  if (!tec::DecodeIndexImage(bytes, &mask).ok()) return 0;
  if (mask.channels() != 1) std::abort();
  // One that claims to be large takes long enough as it is.
  if (int64_t{mask.height()} * mask.width() > (1 << 20)) return 0;
  if (!tec::DecodeImage(bytes, &picture).ok()) std::abort();
  if (picture.height() != mask.height() || picture.width() != mask.width()) std::abort();
  const uint8_t* colours[256] = {};
  for (int y = 0; y < mask.height(); ++y) {
    for (int x = 0; x < mask.width(); ++x) {
      const uint8_t* const pixel = picture.row(y) + 3 * x;
      const uint8_t*& colour = colours[mask.row(y)[x]];
      if (colour == nullptr) colour = pixel;
      if (std::memcmp(colour, pixel, 3) != 0) std::abort();
    }
  }
  return 0;
}
