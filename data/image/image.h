// An image in memory: 8 bits a channel, interleaved; RGB unless said otherwise.

#ifndef TEC_DATA_IMAGE_IMAGE_H_
#define TEC_DATA_IMAGE_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "data/image/box.h"

namespace tec {

// uint8 [height, width, channels], rows without gaps. Move-only: copying pixels should be seen.
class Image {
 public:
  Image() = default;
  Image(int height, int width, int channels = 3) { Resize(height, width, channels); }
  Image(Image&& other) noexcept { *this = std::move(other); }
  Image& operator=(Image&& other) noexcept;

  int height() const { return height_; }
  int width() const { return width_; }
  int channels() const { return channels_; }
  bool empty() const { return height_ == 0; }

  // Bytes from one row to the next: channels * width.
  ptrdiff_t stride() const { return ptrdiff_t{channels_} * width_; }
  size_t size_bytes() const { return static_cast<size_t>(stride()) * height_; }
  // Of the memory held, which an earlier, larger image may have needed.
  size_t capacity_bytes() const { return capacity_; }

  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  uint8_t* row(int y) { return data_.get() + y * stride(); }
  const uint8_t* row(int y) const { return data_.get() + y * stride(); }
  // Channel c (of RGB: 0 red, 1 green, 2 blue) of pixel (y, x).
  uint8_t at(int y, int x, int c) const { return row(y)[ptrdiff_t{channels_} * x + c]; }

  // Sets the size; the pixels are undefined afterwards. Keeps the memory where it suffices. std::bad_alloc otherwise.
  void Resize(int height, int width, int channels = 3);

  // RGB to one channel, as PIL's convert("L"): 0.299 R + 0.587 G + 0.114 B in 16 fractional bits, rounded. A grey
  // pixel keeps its value.
  void ToGrey();

  // So many bytes after the last pixel may be read (not written): vector code need not stop short of the end.
  static constexpr int kReadableBytesBeyond = 64;

 private:
  int height_ = 0, width_ = 0, channels_ = 3;
  size_t capacity_ = 0;
  std::unique_ptr<uint8_t[]>
      data_;  // Not a vector: its zeros would cost a pass over memory that is all written anyway.
};

// A part of an image: `pixels` are its rows from `top` and its columns from `left` on.
struct ImageRegion {
  int height = 0, width = 0;  // Of the whole image.
  int top = 0, left = 0;
  Image pixels;

  // Where the box lies that is `box` in the whole image.
  Box InPixels(const Box& box) const { return Box{box.top - top, box.left - left, box.height, box.width}; }
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_IMAGE_H_
