#include "data/image/image.h"

#include "tec/base/logging.h"

namespace tec {

Image& Image::operator=(Image&& other) noexcept {
  height_ = std::exchange(other.height_, 0);
  width_ = std::exchange(other.width_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  data_ = std::move(other.data_);
  return *this;
}

void Image::Resize(int height, int width) {
  TEC_CHECK(height >= 0 && width >= 0) << height << " x " << width;
  const size_t needed = size_t{3} * width * height;
  if (needed > capacity_) {
    *this = Image();  // The old memory goes first: both together may be too much.
    data_.reset(new uint8_t[needed + kReadableBytesBeyond]);
    capacity_ = needed;
  }
  height_ = height;
  width_ = width;
}

}  // namespace tec
