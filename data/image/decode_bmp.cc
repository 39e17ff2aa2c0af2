// Windows and OS/2 bitmaps: 1 to 32 bits a pixel, run-length coded, and with the bit fields that PIL knows.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/image/decode_formats.h"

namespace tec {
namespace {

enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

struct Header {
  uint32_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;
  uint32_t compression = kRaw, colours = 0;
  int palette_entry = 4;             // Bytes.
  int red = 2, green = 1, blue = 0;  // Which byte of a pixel of 24 or 32 bits.
  bool green6 = false;               // Of 16 bits, green has 6, not 5.
  size_t pixels = 0;                 // Where they begin.
  size_t stride = 0;                 // Bytes of a row that is not run-length coded.
};

absl::Status Truncated() { return absl::DataLossError("the BMP is truncated: its data end before its last row"); }
absl::Status Unsupported(absl::string_view what, int64_t value) {
  return absl::UnimplementedError(absl::StrCat("BMP images of ", what, " ", value, " are not supported"));
}

absl::Status ReadHeader(ByteReader* reader, Header* header) {
  reader->Seek(10);
  header->pixels = reader->Little32();
  const uint32_t size = reader->Little32();
  if (size == 12) {
    header->width = reader->Little16();
    header->height = reader->Little16();
    reader->Little16();
    header->bits = reader->Little16();
    header->palette_entry = 3;
  } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) {
    header->width = reader->Little32();
    header->height = reader->Little32();
    if (header->height >> 24 == 0xFF) {
      header->top_down = true;
      header->height = 0 - header->height;
    }
    reader->Little16();
    header->bits = reader->Little16();
    header->compression = reader->Little32();
    reader->Take(12);
    header->colours = reader->Little32();
    reader->Little32();
  } else {
    return Unsupported("header size", size);
  }
  if (header->bits != 1 && header->bits != 4 && header->bits != 8 && header->bits != 16 && header->bits != 24 &&
      header->bits != 32) {
    return Unsupported("bits a pixel", header->bits);
  }
  if (header->colours == 0) header->colours = 1u << std::min(header->bits, 31);
  if (header->compression == kBitFields) {
    uint32_t masks[4] = {};
    for (int i = 0; i < 3; ++i) masks[i] = reader->Little32();
    if (size >= 56) masks[3] = reader->Little32();
    // The layouts that PIL knows: masks of red, green, blue and alpha to the bytes of red, green and blue.
    struct Layout {
      int bits;
      uint32_t masks[4];
      int red, green, blue;
    };
    constexpr uint32_t kByte0 = 0xFF, kByte1 = 0xFF00, kByte2 = 0xFF0000, kByte3 = 0xFF000000;
    constexpr Layout kLayouts[] = {
        {32, {kByte2, kByte1, kByte0, 0}, 2, 1, 0},      {32, {kByte3, kByte2, kByte1, 0}, 3, 2, 1},
        {32, {kByte3, kByte1, kByte0, 0}, 3, 1, 0},      {32, {kByte3, kByte2, kByte1, kByte0}, 3, 2, 1},
        {32, {kByte0, kByte1, kByte2, kByte3}, 0, 1, 2}, {32, {kByte2, kByte1, kByte0, kByte3}, 2, 1, 0},
        {32, {kByte3, kByte1, kByte0, kByte2}, 3, 1, 0}, {32, {0, 0, 0, 0}, 2, 1, 0},
        {24, {kByte2, kByte1, kByte0, 0}, 2, 1, 0},      {16, {0xF800, 0x7E0, 0x1F, 0}, 0, 1, 0},
        {16, {0x7C00, 0x3E0, 0x1F, 0}, 0, 0, 0},
    };
    const auto* layout = std::find_if(std::begin(kLayouts), std::end(kLayouts), [&](const Layout& l) {
      return l.bits == header->bits && std::equal(masks, masks + (l.bits == 32 ? 4 : 3), l.masks);
    });
    if (layout == std::end(kLayouts)) return Unsupported("unusual bit fields and bits a pixel", header->bits);
    header->red = layout->red;
    header->green = layout->green;
    header->blue = layout->blue;
    header->green6 = header->bits == 16 && layout->green == 1;
  } else if (header->compression == kRle8 || header->compression == kRle4) {
    if (header->bits > 8) return Unsupported("run lengths and bits a pixel", header->bits);
  } else if (header->compression != kRaw) {
    return Unsupported("compression", header->compression);
  }
  // After the header, its fields included; PIL takes a palette from where it has read to.
  const size_t header_end = 14 + static_cast<size_t>(size);
  if (reader->left() + reader->position() < header_end) return Truncated();
  if (size != 40 || header->compression != kBitFields) reader->Seek(header_end);
  const size_t palette_bytes = header->bits <= 8 ? static_cast<size_t>(header->palette_entry) * header->colours : 0;
  if (header->pixels == header_end) {
    header->pixels += palette_bytes;
  } else if (header->pixels == 0) {  // Not said: after all of that.
    header->pixels = reader->position() + palette_bytes;
  }
  return reader->ok() ? absl::OkStatus() : Truncated();
}

// Indices of a run-length coded image in the order of the file, zeros where it says nothing.
std::vector<uint8_t> ExpandRuns(ByteReader* reader, const Header& header) {
  const size_t total = static_cast<size_t>(header.width) * header.height;
  std::vector<uint8_t> indices;
  indices.reserve(total);
  const auto append_zeros = [&](size_t count) {
    indices.resize(indices.size() + std::min(count, total - indices.size()));
  };
  size_t x = 0;
  while (indices.size() < total) {
    const size_t count = reader->Byte();
    const uint8_t value = reader->Byte();
    if (!reader->ok()) break;
    if (count > 0) {
      const size_t fits = std::min(count, header.width - std::min<size_t>(x, header.width));
      for (size_t i = 0; i < fits && indices.size() < total; ++i) {
        indices.push_back(header.compression == kRle8 ? value : i % 2 == 0 ? value >> 4 : value & 15);
      }
      x += fits;
    } else if (value == 0) {
      append_zeros((header.width - indices.size() % header.width) % header.width);
      x = 0;
    } else if (value == 1) {
      break;
    } else if (value == 2) {
      const size_t right = reader->Byte(), up = reader->Byte();
      if (!reader->ok()) break;
      append_zeros(right + up * header.width);
      x = indices.size() % header.width;
    } else {
      const size_t pixels = std::min<size_t>(total - indices.size(), value);
      const absl::string_view bytes = reader->Take(header.compression == kRle8 ? pixels : (pixels + 1) / 2);
      for (size_t i = 0; i < pixels; ++i) {
        const size_t place = header.compression == kRle8 ? i : i / 2;
        if (place >= bytes.size()) break;
        const uint8_t byte = bytes[place];
        indices.push_back(header.compression == kRle8 ? byte : i % 2 == 0 ? byte >> 4 : byte & 15);
      }
      if (!reader->ok() || indices.size() == total) break;
      x += value;
      if (reader->position() % 2 != 0) reader->Byte();
    }
  }
  return indices;
}

// Whether the palette is 0, 1, 2, ... in greys, or black and white if it has two colours.
bool IsGreyRamp(const Header& header, absl::string_view entries) {
  for (uint32_t i = 0; i < header.colours; ++i) {
    const auto value = static_cast<char>(header.colours == 2 ? 255 * i : i);
    const absl::string_view entry = entries.substr(std::min(entries.size(), size_t{i} * header.palette_entry), 3);
    if (entry != std::string(3, value)) return false;
  }
  return true;
}

}  // namespace

absl::Status DecodeBmp(absl::string_view bytes, Image* image) {
  ByteReader reader(bytes);
  Header header;
  const absl::Status status = ReadHeader(&reader, &header);
  if (!status.ok()) return status;
  header.stride = (static_cast<size_t>(header.width) * header.bits + 31) / 32 * 4;
  const bool runs = header.compression == kRle8 || header.compression == kRle4;
  const int64_t run_bytes = runs ? int64_t{header.width} * header.height : 0;
  const absl::Status size = CheckImageSize("BMP", header.height, header.width, run_bytes);
  if (!size.ok()) return size;

  uint8_t palette[256][3] = {};
  if (header.bits <= 8) {
    if (header.colours > 65536) return Unsupported("a palette of colours", header.colours);
    const absl::string_view entries = reader.Take(size_t{header.colours} * header.palette_entry);
    const bool grey_ramp = IsGreyRamp(header, entries);
    if (grey_ramp) {
      // PIL drops such a palette and takes a pixel for its own grey, of 8 bits or 1 whatever the header says.
      header.bits = header.colours <= 2 ? 1 : 8;
      for (int i = 0; i < 256; ++i) std::memset(palette[i], header.bits == 1 ? 255 * i : i, 3);
      if (header.stride < (static_cast<size_t>(header.width) * header.bits + 7) / 8) {
        return absl::DataLossError("the BMP's rows are too short for its palette of greys");
      }
    } else if (entries.size() / header.palette_entry > 256) {
      return Unsupported("a palette of colours", header.colours);
    }
    for (size_t i = 0; i < 256 && (i + 1) * header.palette_entry <= entries.size() && !grey_ramp; ++i) {
      for (int c = 0; c < 3; ++c) palette[i][c] = entries[i * header.palette_entry + 2 - c];
    }
  }

  const int width = header.width, height = header.height;
  const auto row_of = [&](int y) { return image->row(header.top_down ? y : height - 1 - y); };
  ByteReader pixels(bytes);
  pixels.Seek(header.pixels);
  if (runs) {
    const std::vector<uint8_t> indices = ExpandRuns(&pixels, header);
    if (indices.size() < static_cast<size_t>(width) * height) return Truncated();
    image->Resize(height, width);
    for (int y = 0; y < height; ++y) {
      uint8_t* out = row_of(y);
      for (int x = 0; x < width; ++x) std::memcpy(out + 3 * x, palette[indices[static_cast<size_t>(y) * width + x]], 3);
    }
    return absl::OkStatus();
  }

  const size_t stride = header.stride;
  // The last row's padding may be missing.
  const size_t row_bytes = (static_cast<size_t>(width) * header.bits + 7) / 8;
  if (pixels.left() < stride * (height - 1) + row_bytes) return Truncated();
  image->Resize(height, width);
  for (int y = 0; y < height; ++y) {
    const auto* in = reinterpret_cast<const uint8_t*>(bytes.data()) + header.pixels + stride * y;
    uint8_t* out = row_of(y);
    for (int x = 0; x < width; ++x, out += 3) {
      if (header.bits <= 8) {
        const int per_byte = 8 / header.bits;
        const int shift = 8 - header.bits * (x % per_byte + 1);
        std::memcpy(out, palette[in[x / per_byte] >> shift & ((1 << header.bits) - 1)], 3);
      } else if (header.bits == 16) {
        const int pixel = in[2 * x] | in[2 * x + 1] << 8;
        out[0] = (pixel >> (header.green6 ? 11 : 10) & 31) * 255 / 31;
        out[1] = header.green6 ? (pixel >> 5 & 63) * 255 / 63 : (pixel >> 5 & 31) * 255 / 31;
        out[2] = (pixel & 31) * 255 / 31;
      } else {
        const uint8_t* pixel = in + x * (header.bits / 8);
        out[0] = pixel[header.red];
        out[1] = pixel[header.green];
        out[2] = pixel[header.blue];
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace tec
