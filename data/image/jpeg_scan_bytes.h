// The bytes of a JPEG scan between two markers, as bits.

#ifndef TEC_DATA_IMAGE_JPEG_SCAN_BYTES_H_
#define TEC_DATA_IMAGE_JPEG_SCAN_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/base/attributes.h"

namespace tec {

// Bits from the highest of each byte on. A copy of it in local variables is what a decoder's loop works on.
struct JpegBits {
  uint64_t next = 0;  // From the highest on. What comes after `count` may be set too, to what really follows.
  int count = 0;
  const uint8_t* bytes = nullptr;  // From where it is refilled.

  // Makes at least 56 of them; reads 8 bytes.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void Refill() {
    uint64_t eight;
    std::memcpy(&eight, bytes, sizeof(eight));
    next |= __builtin_bswap64(eight) >> count;
    bytes += (63 - count) >> 3;
    count |= 56;
  }
  // At most 63 bits.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void Drop(uint32_t dropped) {
    next <<= dropped;
    count -= static_cast<int>(dropped);
  }
};

// Hands out the bytes without the zero that follows every 0xFF in the file, in pieces that stay in the first-level
// cache: the loop over symbols then need not look for either.
class JpegScanBytes {
 public:
  // So many bytes may be taken between two calls of Provide, and zeros follow where the data end.
  static constexpr int kMostTaken = 2560;

  void Begin(const uint8_t* bytes, size_t size);

  // Before the next bits are taken from bits().
  ABSL_ATTRIBUTE_ALWAYS_INLINE void Provide() {
    if (!at_marker_ && plain_end_ - bits_.bytes < kMostTaken) Fill();
  }
  JpegBits bits() const { return bits_; }
  // Gives them back. False if more were taken than there were.
  bool Took(const JpegBits& bits) {
    bits_ = bits;
    return UnusedBits() >= 0;
  }

  // Whether the next marker is this one, and no more than the rest of a byte is left before it.
  bool AtMarker(int code);
  // Goes on behind the marker where it is now.
  void PassMarker();

  // The bytes of the file that have not been looked at, from the next marker on if that was met.
  const uint8_t* unread() const { return source_; }
  size_t unread_size() const { return source_end_ - source_; }

 private:
  void Fill();
  ptrdiff_t UnusedBits() const { return (plain_end_ - bits_.bytes) * 8 + bits_.count; }

  JpegBits bits_;
  const uint8_t *source_, *source_end_;
  bool at_marker_;  // Or at the file's end.
  uint8_t* plain_end_;
  uint8_t plain_[8192 + 2 * kMostTaken];
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_JPEG_SCAN_BYTES_H_
