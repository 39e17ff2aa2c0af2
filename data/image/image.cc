#include "data/image/image.h"

#include "tec/base/logging.h"

namespace tec {

Image& Image::operator=(Image&& other) noexcept {
  height_ = std::exchange(other.height_, 0);
  width_ = std::exchange(other.width_, 0);
  channels_ = std::exchange(other.channels_, 3);
  capacity_ = std::exchange(other.capacity_, 0);
  data_ = std::move(other.data_);
  return *this;
}

void Image::Resize(int height, int width, int channels) {
  TEC_CHECK(height >= 0 && width >= 0 && channels >= 1) << height << " x " << width << " x " << channels;
  const size_t needed = static_cast<size_t>(channels) * width * height;
  if (needed > capacity_) {
    *this = Image();  // The old memory goes first: both together may be too much.
    data_.reset(new uint8_t[needed + kReadableBytesBeyond]);
    capacity_ = needed;
  }
  height_ = height;
  width_ = width;
  channels_ = channels;
}

void Image::ToGrey() {
  TEC_CHECK_EQ(channels_, 3);
  const size_t pixels = static_cast<size_t>(height_) * width_;
  const uint8_t* rgb = data_.get();
  for (size_t i = 0; i < pixels; ++i, rgb += 3) {
    data_[i] = static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + (1 << 15)) >> 16);
  }
  channels_ = 1;
}

}  // namespace tec
