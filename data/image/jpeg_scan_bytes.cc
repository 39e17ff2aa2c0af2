#include "data/image/jpeg_scan_bytes.h"

#include <algorithm>
#include <iterator>

namespace tec {

void JpegScanBytes::Begin(const uint8_t* bytes, size_t size) {
  source_ = bytes;
  source_end_ = bytes + size;
  at_marker_ = false;
  plain_end_ = plain_;
  bits_ = JpegBits();
  bits_.bytes = plain_;
}

bool JpegScanBytes::AtMarker(int code) {
  Provide();
  return at_marker_ && UnusedBits() < 8 && source_end_ - source_ >= 2 && source_[1] == code;
}

void JpegScanBytes::PassMarker() { Begin(source_ + 2, source_end_ - source_ - 2); }

void JpegScanBytes::Fill() {
  uint8_t* const most_end = std::end(plain_) - kMostTaken;
  const size_t kept = plain_end_ - bits_.bytes;
  std::memmove(plain_, bits_.bytes, kept);
  bits_.bytes = plain_;
  plain_end_ = plain_ + kept;
  while (plain_end_ < most_end && !at_marker_) {
    const size_t most = std::min<size_t>(most_end - plain_end_, source_end_ - source_);
    const auto* found = static_cast<const uint8_t*>(std::memchr(source_, 0xFF, most));
    const size_t count = found == nullptr ? most : found - source_;
    std::memcpy(plain_end_, source_, count);
    plain_end_ += count;
    source_ += count;
    if (source_ == source_end_ || (found != nullptr && (source_end_ - source_ < 2 || source_[1] != 0))) {
      at_marker_ = true;
    } else if (found != nullptr) {
      *plain_end_++ = 0xFF;
      source_ += 2;
    }
  }
  if (at_marker_) std::memset(plain_end_, 0, kMostTaken);
}

}  // namespace tec
