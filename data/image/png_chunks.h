// The chunks of a PNG, as PIL reads them: what stands before the pixels, the compressed pixels, and what follows.

#ifndef TEC_DATA_IMAGE_PNG_CHUNKS_H_
#define TEC_DATA_IMAGE_PNG_CHUNKS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tec {

enum PngColourType { kPngGrey = 0, kPngColour = 2, kPngPalette = 3, kPngGreyAlpha = 4, kPngColourAlpha = 6 };

struct PngHeader {
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
    return colour_type == kPngColour ? 3 : colour_type == kPngGreyAlpha ? 2 : colour_type == kPngColourAlpha ? 4 : 1;
  }
  int pixel_bits() const { return bits * samples(); }
  // Bytes of a row of `pixels`, without its filter.
  size_t RowBytes(uint32_t pixels) const { return (uint64_t{pixels} * pixel_bits() + 7) / 8; }
};

// "the PNG cannot be decoded: <what>".
absl::Status BrokenPng(absl::string_view what);
// It ends before its last row.
absl::Status TruncatedPng();

// The chunks up to the first IDAT.
absl::Status ReadPngHeader(absl::string_view bytes, PngHeader* header);

// What follows the pixels, from the chunk at `at` on: it may end anywhere between chunks, but not in one.
absl::Status CheckPngRest(absl::string_view bytes, size_t at, PngHeader header);

// The compressed data of the IDAT chunks, in the pieces in which PIL's decoder gets them.
class PngDataReader {
 public:
  PngDataReader(absl::string_view bytes, const PngHeader& header)
      : bytes_(bytes), at_(header.data), left_(header.data_bytes) {}

  // The next piece; empty where the data end.
  absl::string_view Next();
  // Where the chunk after the one of the last piece begins.
  size_t end() const { return at_ + left_ + 4; }

 private:
  const absl::string_view bytes_;
  size_t at_;
  uint32_t left_;
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_PNG_CHUNKS_H_
