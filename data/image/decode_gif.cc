// The first frame of a GIF on a canvas of its transparent colour or else of colour 0, as PIL paints it.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "data/image/decode_formats.h"

namespace tec {
namespace {

constexpr int kMaxCodes = 4096;

// The rows of a frame in the order in which they are stored.
class RowOrder {
 public:
  RowOrder(int height, bool interlaced) : height_(height), interlaced_(interlaced) {}
  int row() const { return row_; }
  void Next() {
    if (!interlaced_) {
      ++row_;
      return;
    }
    constexpr int kStep[] = {8, 8, 4, 2}, kStart[] = {0, 4, 2, 1};
    row_ += kStep[pass_];
    while (row_ >= height_ && pass_ < 3) row_ = kStart[++pass_];
  }

 private:
  const int height_;
  const bool interlaced_;
  int row_ = 0, pass_ = 0;
};

// Data of an image: blocks of up to 255 bytes, each after its length, to the bits of codes, lowest first.
class CodeReader {
 public:
  explicit CodeReader(ByteReader* reader) : reader_(reader) {}

  // -1 at the end of the file.
  int Code(int size) {
    while (bits_ < size) {
      while (block_left_ == 0) {
        // PIL goes on behind an empty block, and decodes one when all of it is there.
        block_left_ = reader_->Byte();
        if (!reader_->ok() || reader_->left() < static_cast<size_t>(block_left_)) return -1;
      }
      buffer_ |= static_cast<uint32_t>(reader_->Byte()) << bits_;
      if (!reader_->ok()) return -1;
      --block_left_;
      bits_ += 8;
    }
    const int code = buffer_ & ((1u << size) - 1);
    buffer_ >>= size;
    bits_ -= size;
    return code;
  }

 private:
  ByteReader* const reader_;
  int block_left_ = 0, bits_ = 0;
  uint32_t buffer_ = 0;
};

absl::Status Truncated() { return absl::DataLossError("the GIF is truncated: its data end before its last pixel"); }
absl::Status Broken() { return absl::DataLossError("the GIF cannot be decoded: a code that means nothing yet"); }

// Calls put(index) for `count` pixels.
template <typename Put>
absl::Status DecodeLzw(ByteReader* reader, int64_t count, Put put) {
  const int bits = reader->Byte();
  if (!reader->ok()) return Truncated();
  if (bits > 12) return Broken();
  const int clear = 1 << bits, end = clear + 1;
  // Code c stands for the pixels of prefix[c] followed by suffix[c].
  std::vector<int16_t> prefix(kMaxCodes, -1);
  std::vector<uint8_t> suffix(kMaxCodes), stack(kMaxCodes + 2);
  for (int c = 0; c < clear; ++c) suffix[c] = c;
  CodeReader codes(reader);
  int size = bits + 1, next = end + 1, last = -1;
  uint8_t first = 0;
  while (count > 0) {
    const int code = codes.Code(size);
    if (code < 0 || code == end) return Truncated();
    if (code == clear) {
      size = bits + 1;
      next = end + 1;
      last = -1;
      continue;
    }
    if (last < 0) {
      if (code > clear) return Broken();
      first = suffix[code];
      put(first);
      --count;
      last = code;
      continue;
    }
    if (code > next) return Broken();
    int depth = 0, c = code;
    if (code == next) {
      // Not in the table yet: the pixels of the last code, and the first of them again.
      stack[depth++] = first;
      c = last;
    }
    for (; c >= clear; c = prefix[c]) {
      if (c >= kMaxCodes) return Broken();
      stack[depth++] = suffix[c];
    }
    first = suffix[c];
    stack[depth++] = first;
    for (; depth > 0 && count > 0; --count) put(stack[--depth]);
    if (next < kMaxCodes) {
      prefix[next] = last;
      suffix[next] = first;
      ++next;
      if (next == 1 << size && size < 12) ++size;
    }
    last = code;
  }
  return absl::OkStatus();
}

void ReadPalette(ByteReader* reader, int flags, uint8_t palette[256][3]) {
  std::memset(palette, 0, 256 * 3);
  const absl::string_view colours = reader->Take(size_t{3} << ((flags & 7) + 1));
  std::memcpy(palette, colours.data(), colours.size());
  // PIL drops a palette of 0, 1, 2, ... in greys, and takes every pixel for its own grey.
  for (size_t i = 0; i < colours.size(); ++i) {
    if (static_cast<uint8_t>(colours[i]) != i / 3) return;
  }
  for (int i = 0; i < 256; ++i) std::memset(palette[i], i, 3);
}

// Extensions before the image, as PIL reads them; `*transparent`: the colour that a control extension names. False
// where one is too short.
bool SkipExtension(ByteReader* reader, int* transparent) {
  const auto data = [reader] { return reader->Take(reader->Byte()); };
  const int label = reader->Byte();
  if (!reader->ok()) return false;
  absl::string_view block = data();
  if (label == 0xFE) {  // A comment.
    while (!block.empty()) block = data();
    return true;
  }
  if (label == 0xF9 && !block.empty()) {
    const bool names_colour = block[0] & 1;
    if (block.size() < (names_colour ? 4 : 3)) return false;
    if (names_colour) *transparent = static_cast<uint8_t>(block[3]);
  } else if (label == 0xFF && absl::StartsWith(block, "NETSCAPE2.0")) {
    data();
  }
  // Even if the first was empty.
  while (!data().empty()) {
  }
  return true;
}

}  // namespace

absl::Status DecodeGif(absl::string_view bytes, Image* image) {
  ByteReader reader(bytes);
  reader.Seek(6);
  int64_t width = reader.Little16(), height = reader.Little16();
  const int flags = reader.Byte();
  reader.Take(2);  // Background and aspect.
  uint8_t palette[256][3];
  for (int i = 0; i < 256; ++i) std::memset(palette[i], i, 3);
  if (flags & 0x80) ReadPalette(&reader, flags, palette);
  int canvas_colour = 0;
  while (true) {
    const int kind = reader.Byte();
    if (!reader.ok() || kind == ';') return absl::DataLossError("the GIF ends before an image");
    if (kind == ',') break;
    if (kind != '!') continue;  // PIL searches on, too.
    if (!SkipExtension(&reader, &canvas_colour)) return absl::DataLossError("the GIF has a broken extension");
  }
  const int64_t left = reader.Little16(), top = reader.Little16();
  const int64_t frame_width = reader.Little16(), frame_height = reader.Little16();
  const int frame_flags = reader.Byte();
  if (frame_flags & 0x80) ReadPalette(&reader, frame_flags, palette);
  if (!reader.ok()) return Truncated();
  width = std::max(width, left + frame_width);
  height = std::max(height, top + frame_height);
  const absl::Status size = CheckImageSize("GIF", height, width);
  if (!size.ok()) return size;
  image->Resize(height, width);
  if (frame_width == 0 || frame_height == 0) return absl::DataLossError("the GIF's first frame is empty");
  RowOrder order(frame_height, frame_flags & 0x40);
  uint8_t* out = image->row(top + order.row()) + 3 * left;
  int64_t x = 0;
  const absl::Status status = DecodeLzw(&reader, frame_width * frame_height, [&](uint8_t index) {
    std::memcpy(out, palette[index], 3);
    out += 3;
    if (++x == frame_width) {
      x = 0;
      order.Next();
      if (order.row() < frame_height) out = image->row(top + order.row()) + 3 * left;
    }
  });
  if (!status.ok()) return status;
  // The canvas around the frame comes last: a small broken file that claims a large one costs nothing.
  const auto fill = [&](int64_t y, int64_t begin, int64_t end) {
    for (int64_t column = begin; column < end; ++column) {
      std::memcpy(image->row(y) + 3 * column, palette[canvas_colour], 3);
    }
  };
  for (int64_t y = 0; y < height; ++y) {
    const bool beside = y >= top && y < top + frame_height;
    fill(y, 0, beside ? left : width);
    if (beside) fill(y, left + frame_width, width);
  }
  return absl::OkStatus();
}

}  // namespace tec
