// PNG as PIL reads it (PngImagePlugin.py, ZipDecode.c), over zlib, with the conversions of its convert("RGB"): alpha
// and transparency are dropped, not blended; gamma and profiles are ignored; of 16 bits a channel the high byte is
// taken, except for grey without alpha, whose values above 255 become 255. With alpha the pixels are those of PIL's
// modes LA and RGBA, 16 bits by their high byte.
//
// Not through libpng, which judges files by other rules than PIL: it refuses compressed data whose header claims too
// small a window, a second palette, chunks that it does not know and data that end within a trailing checksum, and lets
// pass others that PIL refuses. Here as there:
//   - chunks before the pixels must be whole, with the right checksum; which they are and in which order matters
//   little;
//   - the pixels are those of the first run of IDAT chunks, whose checksums are not looked at;
//   - the file is good once the last row is there, or compressed data say that they have ended after a row, in which
//     case the missing rows are of sample 0. Of chunks that follow none may be cut off.

#include "data/image/decode_png.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/image/decode.h"
#include "data/image/decode_formats.h"
#include "data/image/png_chunks.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Which pixels a pass of an interlaced image has; pass 7 is a whole image, as one that is not interlaced has it.
constexpr int kFirstRow[] = {0, 0, 4, 0, 2, 0, 1, 0}, kRowStep[] = {8, 8, 8, 4, 4, 2, 2, 1};
constexpr int kFirstColumn[] = {0, 4, 0, 2, 0, 1, 0, 0}, kColumnStep[] = {8, 8, 4, 4, 2, 2, 1, 1};
constexpr int kWholeImage = 7;

uint8_t Paeth(int left, int above, int corner) {
  const int from_left = std::abs(above - corner), from_above = std::abs(left - corner);
  const int from_corner = std::abs(left + above - 2 * corner);
  return from_left <= from_above && from_left <= from_corner ? left : from_above <= from_corner ? above : corner;
}

// Turns a filtered row into samples, in place; row[-1] is the filter. `above`: the row before it, zeros at first.
bool Unfilter(int pixel_bytes, size_t count, const uint8_t* above, uint8_t* row) {
  const size_t first = std::min<size_t>(pixel_bytes, count);
  switch (row[-1]) {
    case 0:
      return true;
    case 1:
      for (size_t i = first; i < count; ++i) row[i] += row[i - pixel_bytes];
      return true;
    case 2:
      for (size_t i = 0; i < count; ++i) row[i] += above[i];
      return true;
    case 3:
      for (size_t i = 0; i < first; ++i) row[i] += above[i] / 2;
      for (size_t i = first; i < count; ++i) row[i] += (row[i - pixel_bytes] + above[i]) / 2;
      return true;
    case 4:
      for (size_t i = 0; i < first; ++i) row[i] += above[i];
      for (size_t i = first; i < count; ++i) {
        row[i] += Paeth(row[i - pixel_bytes], above[i], above[i - pixel_bytes]);
      }
      return true;
    default:
      return false;
  }
}

// Samples of the file to pixels of an image: RGB, its own channels (of a palette with tRNS four), or with one channel,
// of samples of up to 8 bits, the samples themselves.
class Converter {
 public:
  Converter(const PngHeader& header, int channels) : header_(header), channels_(channels) {
    // An index beyond the palette is black and opaque, as in PIL.
    for (int i = 0; i < 256; ++i) {
      const bool there = header.palette.size() >= 3 * size_t(i + 1);
      for (int c = 0; c < 3; ++c) palette_[i][c] = there ? header.palette[3 * i + c] : 0;
      palette_[i][3] = static_cast<size_t>(i) < header.alpha.size() ? header.alpha[i] : 255;
    }
  }

  // `count` pixels; one follows another after `step` pixels of `out`.
  void Convert(const uint8_t* row, uint32_t count, int step, uint8_t* out) const {
    const ptrdiff_t next = ptrdiff_t{channels_} * step;
    const int sample_bytes = header_.bits == 16 ? 2 : 1;
    if (channels_ == 1) {
      for (uint32_t x = 0; x < count; ++x, out += next) *out = static_cast<uint8_t>(Small(row, x));
      return;
    }
    switch (header_.colour_type) {
      case kPngGrey:
        if (header_.bits == 16) {
          for (uint32_t x = 0; x < count; ++x, out += next) Grey(row[2 * x] != 0 ? 255 : row[2 * x + 1], out);
        } else {
          const int scale = 255 / ((1 << header_.bits) - 1);
          for (uint32_t x = 0; x < count; ++x, out += next) Grey(Small(row, x) * scale, out);
        }
        break;
      case kPngPalette:
        for (uint32_t x = 0; x < count; ++x, out += next) std::memcpy(out, palette_[Small(row, x)], channels_);
        break;
      case kPngGreyAlpha:
        for (uint32_t x = 0; x < count; ++x, out += next, row += 2 * sample_bytes) {
          if (channels_ == 2) {
            out[0] = row[0];
            out[1] = row[sample_bytes];
          } else {
            Grey(row[0], out);
          }
        }
        break;
      default:
        if (step == 1 && sample_bytes == 1 && channels_ == header_.samples()) {
          std::memcpy(out, row, size_t{count} * channels_);
          break;
        }
        for (uint32_t x = 0; x < count; ++x, out += next, row += header_.samples() * sample_bytes) {
          for (int c = 0; c < channels_; ++c) out[c] = row[c * sample_bytes];
        }
    }
  }

 private:
  static void Grey(uint8_t value, uint8_t* out) { out[0] = out[1] = out[2] = value; }

  // A sample of up to 8 bits.
  int Small(const uint8_t* row, uint32_t x) const {
    if (header_.bits == 8) return row[x];
    const uint64_t bit = uint64_t{x} * header_.bits;
    return row[bit / 8] >> (8 - header_.bits - bit % 8) & ((1 << header_.bits) - 1);
  }

  const PngHeader& header_;
  const int channels_;
  uint8_t palette_[256][4];
};

class Inflater {
 public:
  Inflater() {
    if (inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_ = {};
};

// The pixels, row by row, then what follows them.
absl::Status ReadPixels(absl::string_view bytes, const PngHeader& header, int channels, Image* image) {
  TEC_RETURN_IF_ERROR(CheckImageSize("PNG", header.height, header.width,
                                     3 * static_cast<int64_t>(header.RowBytes(header.width)), channels));
  image->Resize(header.height, header.width, channels);
  const Converter converter(header, channels);
  const size_t most = header.RowBytes(header.width);
  // Pixels that are missing are sample 0: black, but for a palette's.
  const std::vector<uint8_t> nothing(most);
  const auto clear = [&](uint32_t y) { converter.Convert(nothing.data(), header.width, 1, image->row(y)); };
  // Of an interlaced picture it may be any.
  for (uint32_t y = 0; header.interlaced && y < header.height; ++y) clear(y);
  // A filter, a row, and the row above it; an own byte before the row above keeps both alike.
  std::vector<uint8_t> buffer(most + 1), above(most + 1);
  int pass = header.interlaced ? 0 : kWholeImage;
  uint32_t y = kFirstRow[pass];
  const auto columns_of = [&header](int p) {
    return header.width <= static_cast<uint32_t>(kFirstColumn[p])
               ? 0
               : (header.width - kFirstColumn[p] + kColumnStep[p] - 1) / kColumnStep[p];
  };
  uint32_t columns = columns_of(pass);
  size_t row_bytes = header.RowBytes(columns), filled = 0;
  PngDataReader data(bytes, header);
  Inflater inflater;
  z_stream& stream = inflater.stream();
  while (true) {
    const absl::string_view piece = data.Next();
    if (piece.empty()) return TruncatedPng();
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = piece.size();
    while (stream.avail_in > 0) {
      stream.next_out = buffer.data() + filled;
      stream.avail_out = row_bytes + 1 - filled;
      const int result = inflate(&stream, Z_NO_FLUSH);
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      if (result < 0 || result == Z_NEED_DICT) {
        return BrokenPng(stream.msg != nullptr ? stream.msg : "its compressed data are broken");
      }
      if (stream.avail_out > 0) {
        filled = row_bytes + 1 - stream.avail_out;
        break;
      }
      filled = 0;
      if (!Unfilter((header.pixel_bits() + 7) / 8, row_bytes, above.data() + 1, buffer.data() + 1)) {
        return BrokenPng("an unknown filter");
      }
      if (columns > 0) {
        converter.Convert(buffer.data() + 1, columns, kColumnStep[pass],
                          image->row(y) + ptrdiff_t{channels} * kFirstColumn[pass]);
      }
      y += kRowStep[pass];
      bool done = false;
      while (pass < kWholeImage && !done && (y >= header.height || row_bytes == 0)) {
        ++pass;
        done = pass == kWholeImage;
        if (done) break;
        y = kFirstRow[pass];
        columns = columns_of(pass);
        row_bytes = header.RowBytes(columns);
        std::fill(buffer.begin(), buffer.end(), 0);
      }
      if (done || (pass == kWholeImage && y >= header.height) || result == Z_STREAM_END) {
        // The data may have ended before the picture has.
        for (; pass == kWholeImage && y < header.height; ++y) clear(y);
        return CheckPngRest(bytes, data.end(), header);
      }
      buffer.swap(above);
    }
  }
}

}  // namespace

absl::Status DecodePng(absl::string_view bytes, Image* image, int channels) {
  PngHeader header;
  TEC_RETURN_IF_ERROR(ReadPngHeader(bytes, &header));
  const bool palette_alpha = header.colour_type == kPngPalette && header.has_alpha_table;
  const int stored = header.colour_type == kPngPalette ? (palette_alpha ? 4 : 3) : header.samples();
  if (channels != 3 && channels != stored) {
    return absl::InvalidArgumentError(
        absl::StrCat("the PNG has ", stored, " channels, not the ", channels, " asked for"));
  }
  return ReadPixels(bytes, header, channels, image);
}

absl::Status DecodePngNumbers(absl::string_view bytes, Image* image) {
  PngHeader header;
  TEC_RETURN_IF_ERROR(ReadPngHeader(bytes, &header));
  if ((header.colour_type != kPngPalette && header.colour_type != kPngGrey) || header.bits > 8) {
    return absl::InvalidArgumentError(
        "a mask's pixels must be numbers of classes: a PNG with a palette, or grey of up to 8 bits without alpha; this "
        "one has colours, alpha or 16 bits");
  }
  return ReadPixels(bytes, header, 1, image);
}

}  // namespace tec
