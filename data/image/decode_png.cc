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
//     case the missing rows are black. Of chunks that follow none may be cut off.

#include "data/image/decode_png.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "data/image/decode.h"
#include "data/image/decode_formats.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr size_t kSignature = 8;
// So many bytes of compressed data at a time go to PIL's decoder.
constexpr size_t kPilBlock = 65536;
enum ColourType { kGrey = 0, kColour = 2, kPalette = 3, kGreyAlpha = 4, kColourAlpha = 6 };

// Which pixels a pass of an interlaced image has; pass 7 is a whole image, as one that is not interlaced has it.
constexpr int kFirstRow[] = {0, 0, 4, 0, 2, 0, 1, 0}, kRowStep[] = {8, 8, 8, 4, 4, 2, 2, 1};
constexpr int kFirstColumn[] = {0, 4, 0, 2, 0, 1, 0, 0}, kColumnStep[] = {8, 8, 4, 4, 2, 2, 1, 1};
constexpr int kWholeImage = 7;

uint32_t BigEndian32(absl::string_view bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

absl::Status Broken(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the PNG cannot be decoded: ", what));
}
absl::Status Truncated() { return absl::DataLossError("the PNG is truncated: its data end before its last row"); }

struct Header {
  uint32_t width = 0, height = 0;
  int bits = 0, colour_type = -1;
  bool interlaced = false;
  absl::string_view palette;  // RGB.
  absl::string_view alpha;    // tRNS of a palette.
  bool has_alpha_table = false;
  uint32_t frames = 0;  // fcTL chunks so far.
  bool animated = false;
  size_t data = 0;          // Where the first IDAT's content begins ...
  uint32_t data_bytes = 0;  // ... and how long it says that it is.

  int samples() const {
    return colour_type == kColour ? 3 : colour_type == kGreyAlpha ? 2 : colour_type == kColourAlpha ? 4 : 1;
  }
  int pixel_bits() const { return bits * samples(); }
  // Bytes of a row of `pixels`, without its filter.
  size_t RowBytes(uint32_t pixels) const { return (uint64_t{pixels} * pixel_bits() + 7) / 8; }
};

bool IsKnownKind(int bits, int colour_type) {
  switch (colour_type) {
    case kGrey:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    case kPalette:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    case kColour:
    case kGreyAlpha:
    case kColourAlpha:
      return bits == 8 || bits == 16;
    default:
      return false;
  }
}

// What PIL asks of a chunk's content, before the pixels and after them; `*next_frame` counts fcTL.
absl::Status CheckChunk(absl::string_view kind, absl::string_view content, const Header& header, uint32_t* next_frame) {
  const size_t length = content.size();
  const bool needs_colours = header.colour_type == kColour, needs_grey = header.colour_type == kGrey;
  if ((kind == "IHDR" && length < 13) || (kind == "gAMA" && length < 4) || (kind == "cHRM" && length < 32) ||
      (kind == "sRGB" && length < 1) || (kind == "pHYs" && length < 9) || (kind == "acTL" && length < 8) ||
      (kind == "fcTL" && length < 26) ||
      (kind == "tRNS" && length < (needs_colours ? 6
                                   : needs_grey  ? 2
                                                 : 0))) {
    return Broken(absl::StrCat("its chunk ", kind, " is too short"));
  }
  if (kind == "IHDR" && content[11] != 0) return Broken("an unknown filter method");
  if (kind == "iCCP" || kind == "zTXt") {
    const size_t zero = content.find('\0');
    const size_t method = zero == absl::string_view::npos ? 0 : zero + 1;
    const bool must_be_there = kind == "iCCP", is_there = method < length && (must_be_there || method > 0);
    if (is_there ? content[method] != 0 : must_be_there) {
      return Broken(absl::StrCat("an unknown compression method of its chunk ", kind));
    }
  }
  if (kind == "fcTL") {
    if (BigEndian32(content) != (*next_frame)++) return Broken("its animation's frames are out of order");
    const uint64_t width = BigEndian32(content.substr(4)), height = BigEndian32(content.substr(8));
    if (width + BigEndian32(content.substr(12)) > header.width ||
        height + BigEndian32(content.substr(16)) > header.height) {
      return Broken("a frame of its animation does not lie in it");
    }
  }
  return absl::OkStatus();
}

// The name and length of the chunk at `at`, if there is one.
bool ReadChunkStart(absl::string_view bytes, size_t at, absl::string_view* kind, uint32_t* length) {
  if (at > bytes.size() || bytes.size() - at < 8) return false;
  *length = BigEndian32(bytes.substr(at));
  *kind = bytes.substr(at + 4, 4);
  return std::all_of(kind->begin(), kind->end(), [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

// The chunks up to the first IDAT.
absl::Status ReadHeader(absl::string_view bytes, Header* header) {
  size_t at = kSignature;
  uint32_t announced_frames = 0;
  while (true) {
    uint32_t length;
    absl::string_view kind;
    if (!ReadChunkStart(bytes, at, &kind, &length)) {
      return bytes.size() - at < 8 ? Truncated() : Broken("a chunk's name has other bytes than letters");
    }
    at += 8;
    if (kind == "IDAT") {
      header->data = at;
      header->data_bytes = length;
      break;
    }
    if (kind == "IEND" || kind == "fdAT") return Broken("it ends before its pixels");
    if (length > bytes.size() - at || bytes.size() - at - length < 4) return Truncated();
    const absl::string_view content = bytes.substr(at, length);
    const uint32_t crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()) + at - 4, size_t{4} + length);
    TEC_RETURN_IF_ERROR(CheckChunk(kind, content, *header, &header->frames));
    if (BigEndian32(bytes.substr(at + length)) != crc) {
      return Broken(absl::StrCat("a wrong checksum of its chunk ", kind));
    }
    at += size_t{length} + 4;
    if (kind == "IHDR") {
      header->width = BigEndian32(content);
      header->height = BigEndian32(content.substr(4));
      // An unknown kind leaves the one before it, as one that is not interlaced does.
      const int bits = static_cast<uint8_t>(content[8]), colour_type = static_cast<uint8_t>(content[9]);
      if (IsKnownKind(bits, colour_type)) {
        header->bits = bits;
        header->colour_type = colour_type;
      }
      header->interlaced |= content[12] != 0;
    } else if (kind == "PLTE" && header->colour_type == kPalette) {
      header->palette = content;
    } else if (kind == "tRNS" && header->colour_type == kPalette) {
      header->alpha = content;
      header->has_alpha_table = true;
    } else if (kind == "acTL") {
      announced_frames = BigEndian32(content);
    } else if (kind == "fcTL" &&
               (BigEndian32(content.substr(4)) != header->width || BigEndian32(content.substr(8)) != header->height)) {
      return absl::UnimplementedError("animated PNG images whose first frame is not the whole are not supported");
    }
  }
  // A picture before the first frame counts as one more.
  header->animated = announced_frames > (header->frames > 0 ? 1 : 0) && announced_frames <= 0x80000000;
  if (header->colour_type < 0) return Broken("its header has no known colour type and depth, or is missing");
  if (header->palette.size() / 3 > 256 || header->alpha.size() > 256) return Broken("its palette is too long");
  return absl::OkStatus();
}

// What follows the pixels: it may end anywhere between chunks, but not in one.
absl::Status CheckRest(absl::string_view bytes, size_t at, Header header) {
  uint32_t length;
  absl::string_view kind;
  while (ReadChunkStart(bytes, at, &kind, &length)) {
    if (kind == "IEND" || (kind == "fcTL" && header.animated)) break;
    at += 8;
    if (length > bytes.size() - at) return absl::DataLossError("the PNG is truncated: it ends in a chunk");
    TEC_RETURN_IF_ERROR(CheckChunk(kind, bytes.substr(at, length), header, &header.frames));
    at += size_t{length} + 4;
  }
  return absl::OkStatus();
}

// The compressed data of the IDAT chunks, in the pieces in which PIL's decoder gets them.
class DataReader {
 public:
  DataReader(absl::string_view bytes, const Header& header)
      : bytes_(bytes), at_(header.data), left_(header.data_bytes) {}

  // The next piece; empty where the data end.
  absl::string_view Next() {
    while (left_ == 0) {
      // A checksum that is cut off, and a chunk of another kind, end the data alike.
      if (bytes_.size() < at_ || bytes_.size() - at_ < 12 || !IsData(bytes_.substr(at_ + 8, 4))) return {};
      left_ = BigEndian32(bytes_.substr(at_ + 4));
      at_ += 12;
    }
    const absl::string_view piece = bytes_.substr(std::min(at_, bytes_.size()), std::min<size_t>(left_, kPilBlock));
    left_ -= std::min<size_t>(left_, kPilBlock);
    at_ += piece.size();
    return piece;
  }

  // Where the chunk after the one of the last piece begins.
  size_t end() const { return at_ + left_ + 4; }

 private:
  static bool IsData(absl::string_view kind) { return kind == "IDAT" || kind == "DDAT"; }

  const absl::string_view bytes_;
  size_t at_;
  uint32_t left_;
};

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

// Samples of the file to pixels of an image: RGB, or its own channels.
class Converter {
 public:
  // `palette_alpha`: a palette and its tRNS become four channels.
  Converter(const Header& header, int channels) : header_(header), channels_(channels) {
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
    switch (header_.colour_type) {
      case kGrey:
        if (header_.bits == 16) {
          for (uint32_t x = 0; x < count; ++x, out += next) Grey(row[2 * x] != 0 ? 255 : row[2 * x + 1], out);
        } else {
          const int scale = 255 / ((1 << header_.bits) - 1);
          for (uint32_t x = 0; x < count; ++x, out += next) Grey(Small(row, x) * scale, out);
        }
        break;
      case kPalette:
        for (uint32_t x = 0; x < count; ++x, out += next) std::memcpy(out, palette_[Small(row, x)], channels_);
        break;
      case kGreyAlpha:
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

  const Header& header_;
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

// The pixels, row by row, then what follows them; `*image` has its size.
absl::Status ReadPixels(absl::string_view bytes, const Header& header, int channels, Image* image) {
  const Converter converter(header, channels);
  const size_t most = header.RowBytes(header.width);
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
  DataReader data(bytes, header);
  Inflater inflater;
  z_stream& stream = inflater.stream();
  while (true) {
    const absl::string_view piece = data.Next();
    if (piece.empty()) return Truncated();
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = piece.size();
    while (stream.avail_in > 0) {
      stream.next_out = buffer.data() + filled;
      stream.avail_out = row_bytes + 1 - filled;
      const int result = inflate(&stream, Z_NO_FLUSH);
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      if (result < 0 || result == Z_NEED_DICT) {
        return Broken(stream.msg != nullptr ? stream.msg : "its compressed data are broken");
      }
      if (stream.avail_out > 0) {
        filled = row_bytes + 1 - stream.avail_out;
        break;
      }
      filled = 0;
      if (!Unfilter((header.pixel_bits() + 7) / 8, row_bytes, above.data() + 1, buffer.data() + 1)) {
        return Broken("an unknown filter");
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
        for (; pass == kWholeImage && y < header.height; ++y) std::memset(image->row(y), 0, image->stride());
        return CheckRest(bytes, data.end(), header);
      }
      buffer.swap(above);
    }
  }
}

}  // namespace

absl::Status DecodePng(absl::string_view bytes, Image* image, int channels) {
  Header header;
  TEC_RETURN_IF_ERROR(ReadHeader(bytes, &header));
  const bool palette_alpha = header.colour_type == kPalette && header.has_alpha_table;
  const int stored = header.colour_type == kPalette ? (palette_alpha ? 4 : 3) : header.samples();
  if (channels != 3 && channels != stored) {
    return absl::InvalidArgumentError(
        absl::StrCat("the PNG has ", stored, " channels, not the ", channels, " asked for"));
  }
  TEC_RETURN_IF_ERROR(CheckImageSize("PNG", header.height, header.width,
                                     2 * static_cast<int64_t>(header.RowBytes(header.width)), channels));
  image->Resize(header.height, header.width, channels);
  // Of an interlaced picture any pixel may be missing.
  if (header.interlaced) std::memset(image->data(), 0, image->size_bytes());
  return ReadPixels(bytes, header, channels, image);
}

}  // namespace tec
