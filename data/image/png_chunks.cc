#include "data/image/png_chunks.h"

#include <zlib.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr size_t kSignature = 8;
// So many bytes of compressed data at a time go to PIL's decoder.
constexpr size_t kPilBlock = 65536;

uint32_t BigEndian32(absl::string_view bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

bool IsKnownKind(int bits, int colour_type) {
  switch (colour_type) {
    case kPngGrey:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    case kPngPalette:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    case kPngColour:
    case kPngGreyAlpha:
    case kPngColourAlpha:
      return bits == 8 || bits == 16;
    default:
      return false;
  }
}

// What PIL asks of a chunk's content, before the pixels and after them; `*next_frame` counts fcTL.
absl::Status CheckChunk(absl::string_view kind, absl::string_view content, const PngHeader& header,
                        uint32_t* next_frame) {
  const size_t length = content.size();
  const bool needs_colours = header.colour_type == kPngColour, needs_grey = header.colour_type == kPngGrey;
  if ((kind == "IHDR" && length < 13) || (kind == "gAMA" && length < 4) || (kind == "cHRM" && length < 32) ||
      (kind == "sRGB" && length < 1) || (kind == "pHYs" && length < 9) || (kind == "acTL" && length < 8) ||
      (kind == "fcTL" && length < 26) ||
      (kind == "tRNS" && length < (needs_colours ? 6
                                   : needs_grey  ? 2
                                                 : 0))) {
    return BrokenPng(absl::StrCat("its chunk ", kind, " is too short"));
  }
  if (kind == "IHDR" && content[11] != 0) return BrokenPng("an unknown filter method");
  if (kind == "iCCP" || kind == "zTXt") {
    const size_t zero = content.find('\0');
    const size_t method = zero == absl::string_view::npos ? 0 : zero + 1;
    const bool must_be_there = kind == "iCCP", is_there = method < length && (must_be_there || method > 0);
    if (is_there ? content[method] != 0 : must_be_there) {
      return BrokenPng(absl::StrCat("an unknown compression method of its chunk ", kind));
    }
  }
  if (kind == "fcTL") {
    if (BigEndian32(content) != (*next_frame)++) return BrokenPng("its animation's frames are out of order");
    const uint64_t width = BigEndian32(content.substr(4)), height = BigEndian32(content.substr(8));
    if (width + BigEndian32(content.substr(12)) > header.width ||
        height + BigEndian32(content.substr(16)) > header.height) {
      return BrokenPng("a frame of its animation does not lie in it");
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

bool IsData(absl::string_view kind) { return kind == "IDAT" || kind == "DDAT"; }

}  // namespace

absl::Status BrokenPng(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the PNG cannot be decoded: ", what));
}
absl::Status TruncatedPng() { return absl::DataLossError("the PNG is truncated: its data end before its last row"); }

absl::Status ReadPngHeader(absl::string_view bytes, PngHeader* header) {
  size_t at = kSignature;
  uint32_t announced_frames = 0;
  while (true) {
    uint32_t length;
    absl::string_view kind;
    if (!ReadChunkStart(bytes, at, &kind, &length)) {
      return bytes.size() - at < 8 ? TruncatedPng() : BrokenPng("a chunk's name has other bytes than letters");
    }
    at += 8;
    if (kind == "IDAT") {
      header->data = at;
      header->data_bytes = length;
      break;
    }
    if (kind == "IEND" || kind == "fdAT") return BrokenPng("it ends before its pixels");
    if (length > bytes.size() - at || bytes.size() - at - length < 4) return TruncatedPng();
    const absl::string_view content = bytes.substr(at, length);
    const uint32_t crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()) + at - 4, size_t{4} + length);
    TEC_RETURN_IF_ERROR(CheckChunk(kind, content, *header, &header->frames));
    if (BigEndian32(bytes.substr(at + length)) != crc) {
      return BrokenPng(absl::StrCat("a wrong checksum of its chunk ", kind));
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
    } else if (kind == "PLTE" && header->colour_type == kPngPalette) {
      header->palette = content;
    } else if (kind == "tRNS" && header->colour_type == kPngPalette) {
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
  if (header->colour_type < 0) return BrokenPng("its header has no known colour type and depth, or is missing");
  if (header->palette.size() / 3 > 256 || header->alpha.size() > 256) return BrokenPng("its palette is too long");
  return absl::OkStatus();
}

absl::Status CheckPngRest(absl::string_view bytes, size_t at, PngHeader header) {
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

absl::string_view PngDataReader::Next() {
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

}  // namespace tec
