// PBM, PGM and PPM, plain and binary. Grey of more than 8 bits is brought to 16 and clipped at 255, colours of more are
// brought to 8, as PIL does.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/image/decode_formats.h"

namespace tec {
namespace {

bool IsBlank(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class PnmReader {
 public:
  explicit PnmReader(absl::string_view bytes) : reader_(bytes) {}

  ByteReader& reader() { return reader_; }

  // The next number in decimal digits, after blanks and comments; takes one blank after it. Negative for none.
  int64_t Number() {
    std::string token;
    while (token.size() <= 10) {
      const int c = reader_.Byte();
      if (!reader_.ok()) break;
      if (c == '#') {
        SkipComment();
      } else if (!IsBlank(c)) {
        token.push_back(static_cast<char>(c));
      } else if (!token.empty()) {
        break;
      }
    }
    int64_t value;
    if (token.size() > 10 || token.find_first_not_of("0123456789") != std::string::npos ||
        !absl::SimpleAtoi(token, &value)) {
      return -1;
    }
    return value;
  }

  // The next digit of a plain bitmap, which needs no blank between digits. Negative for none.
  int Bit() {
    while (true) {
      const int c = reader_.Byte();
      if (!reader_.ok()) return -1;
      if (c == '#') {
        SkipComment();
      } else if (!IsBlank(c)) {
        return c == '0' || c == '1' ? c - '0' : -1;
      }
    }
  }

 private:
  void SkipComment() {
    int c;
    do {
      c = reader_.Byte();
    } while (reader_.ok() && c != '\n' && c != '\r');
  }

  ByteReader reader_;
};

absl::Status Truncated() { return absl::DataLossError("the PNM is truncated or has a sample that is no number"); }

}  // namespace

absl::Status DecodePnm(absl::string_view bytes, Image* image) {
  const int kind = bytes[1] - '0';  // 1 to 3 plain, 4 to 6 binary: bits, grey, colours.
  if (kind < 1 || kind > 6) {
    return absl::UnimplementedError(absl::StrCat("PNM images of kind P", kind, " are not supported, only P1 to P6"));
  }
  PnmReader text(bytes);
  ByteReader& reader = text.reader();
  reader.Seek(3);
  const int64_t width = text.Number(), height = text.Number();
  const bool bitmap = kind == 1 || kind == 4, grey = kind == 2 || kind == 5, plain = kind <= 3;
  const int64_t most = bitmap ? 1 : text.Number();
  if (width < 0 || height < 0 || most < 0) return absl::DataLossError("the PNM's header is broken");
  if (most < 1 || most > 65535) {
    return absl::DataLossError(absl::StrCat("the PNM's largest value is ", most, ", not in 1 to 65535"));
  }
  const absl::Status size = CheckImageSize("PNM", height, width);
  if (!size.ok()) return size;
  const int channels = bitmap || grey ? 1 : 3;
  // Every sample takes a byte of the file at least, but for bits.
  const int64_t least = kind == 4     ? height * ((width + 7) / 8)
                        : plain       ? height * width * channels
                        : most <= 255 ? height * width * channels
                                      : height * width * channels * 2;
  if (static_cast<int64_t>(reader.left()) < least) return Truncated();
  image->Resize(height, width);

  const double scale_to = grey && most > 255 ? 65535 : 255;
  const auto to_byte = [&](int64_t value) {
    if (most != 255 && most != 65535) {
      // Python's round(): halves to the even neighbour.
      value = static_cast<int64_t>(std::min(scale_to, std::nearbyint(static_cast<double>(value) / most * scale_to)));
    } else if (most == 65535 && !grey) {
      value = static_cast<int64_t>(std::min(255.0, std::nearbyint(value / 65535.0 * 255)));
    }
    return static_cast<uint8_t>(std::min<int64_t>(value, 255));
  };
  for (int y = 0; y < height; ++y) {
    uint8_t* out = image->row(y);
    int byte = 0;
    for (int x = 0; x < width; ++x, out += 3) {
      for (int c = 0; c < channels; ++c) {
        if (bitmap) {
          int bit;
          if (plain) {
            bit = text.Bit();
            if (bit < 0) return Truncated();
          } else {
            if (x % 8 == 0) byte = reader.Byte();
            bit = byte >> (7 - x % 8) & 1;
          }
          out[c] = bit ? 0 : 255;
          continue;
        }
        int64_t value;
        if (plain) {
          value = text.Number();
          if (value < 0) return Truncated();
          if (value > most) return absl::DataLossError("the PNM has a value above its largest");
        } else {
          value = reader.Byte();
          if (most > 255) value = value << 8 | reader.Byte();
        }
        out[c] = to_byte(value);
      }
      if (channels == 1) out[1] = out[2] = out[0];
    }
  }
  return reader.ok() || plain ? absl::OkStatus() : Truncated();
}

}  // namespace tec
