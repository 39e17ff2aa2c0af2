// The decoders of the less common formats: DecodeImage for bytes that start as one. They may throw std::bad_alloc.

#ifndef TEC_DATA_IMAGE_DECODE_FORMATS_H_
#define TEC_DATA_IMAGE_DECODE_FORMATS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"

namespace tec {

absl::Status DecodeBmp(absl::string_view bytes, Image* image);
absl::Status DecodeGif(absl::string_view bytes, Image* image);  // The first frame.
absl::Status DecodePnm(absl::string_view bytes, Image* image);
absl::Status DecodeTiff(absl::string_view bytes, Image* image, int channels = 3);  // As DecodeImage's, but for 1.
absl::Status DecodeWebp(absl::string_view bytes, Image* image);                    // The first frame.

// ResourceExhausted for a size beyond kMaxImagePixels, or if pixels and bytes_beside (what the decoder keeps beside
// them) exceed kMaxDecodeMemory. InvalidArgument for no pixels. To be asked before memory is taken.
absl::Status CheckImageSize(const char* format, int64_t height, int64_t width, int64_t bytes_beside = 0,
                            int channels = 3);

// PIL's rounding of a * b / 255, and with it the conversion of 255 - ink of cyan, magenta or yellow, and of black.
inline int MultiplyDivide255(int a, int b) {
  const int t = a * b + 128;
  return (t + (t >> 8)) >> 8;
}
inline uint8_t ColourOfInk(int ink, int not_black) {
  const int value = not_black - MultiplyDivide255(ink, not_black);
  return static_cast<uint8_t>(value < 0 ? 0 : value);
}

// Numbers in the bytes of a file. Reading beyond the end gives zeros and makes ok() false.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  size_t position() const { return position_; }
  void Seek(size_t position) { position_ = position; }
  size_t left() const { return position_ < bytes_.size() ? bytes_.size() - position_ : 0; }

  uint8_t Byte() {
    if (position_ >= bytes_.size()) {
      ok_ = false;
      return 0;
    }
    return static_cast<uint8_t>(bytes_[position_++]);
  }
  uint32_t Little16() {
    const uint32_t low = Byte();
    return low | static_cast<uint32_t>(Byte()) << 8;
  }
  uint32_t Little32() {
    const uint32_t low = Little16();
    return low | Little16() << 16;
  }
  // The next `count` bytes, or fewer at the end.
  absl::string_view Take(size_t count) {
    if (count > left()) {
      ok_ = false;
      count = left();
    }
    const absl::string_view taken = bytes_.substr(position_ < bytes_.size() ? position_ : bytes_.size(), count);
    position_ += count;
    return taken;
  }

 private:
  absl::string_view bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_DECODE_FORMATS_H_
