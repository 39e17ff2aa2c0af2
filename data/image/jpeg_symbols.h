// Huffman codes of sequential JPEG by tables: a symbol, or several, by the next bits (ITU-T T.81, annexes C and F).

#ifndef TEC_DATA_IMAGE_JPEG_SYMBOLS_H_
#define TEC_DATA_IMAGE_JPEG_SYMBOLS_H_

#include <cstdint>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"

namespace tec {

// A code of JPEG has at most 16 bits, and at most 15 of value follow it.
inline constexpr int kMostSymbolBits = 16 + 15;

// The end of a block, counted as coefficients.
inline constexpr uint32_t kJpegEndOfBlock = 128;

// A code and its value. In one word; 0: there is no such code.
//
// A table that has the value itself, where code and value fit into the bits that are looked up, was tried and is no
// faster: the value is not what the next symbol waits for.
class JpegSymbol {
 public:
  JpegSymbol() = default;
  // `symbol`: zeros before the coefficient in the upper four bits, bits of its value in the lower four.
  JpegSymbol(int code_bits, int symbol) {
    const uint32_t zeros = symbol >> 4, value_bits = symbol & 15;
    // Without a value: 16 zeros, or the end of the block, for which libjpeg takes the reserved symbols too.
    const uint32_t advance = value_bits == 0 && zeros != 15 ? kJpegEndOfBlock : zeros + 1;
    word_ = (code_bits + value_bits) | static_cast<uint32_t>(code_bits) << 8 | advance << 16 | value_bits << 24;
  }

  explicit operator bool() const { return word_ != 0; }
  // Of code and value.
  uint32_t bits() const { return word_ & 63; }
  uint32_t code_bits() const { return word_ >> 8 & 63; }
  // Coefficients that it goes on by.
  uint32_t advance() const { return word_ >> 16 & 255; }

  // The value, where `next` begins with the symbol, modulo 2^32: as it is written, or, if that begins with 0, inverted
  // and negative.
  ABSL_ATTRIBUTE_ALWAYS_INLINE uint32_t ValueIn(uint64_t next) const {
    const uint64_t value = next << code_bits();
    const uint64_t negative = (value >> 63) - 1;  // All bits or none.
    // Two shifts, since one of 64 bits is none.
    const uint64_t magnitude = (value ^ negative) >> 1 >> (63 - (word_ >> 24));
    return static_cast<uint32_t>((magnitude ^ negative) - negative);
  }

 private:
  uint32_t word_;
};

// What a table of codes makes of the next bits, which are given from the highest on.
class JpegSymbols {
 public:
  // Bits that are looked up. Longer codes are one in a hundred or fewer.
  static constexpr int kLookupBits = 10;

  // `counts`: [17], of codes by their length; `symbols`: in the order of the codes, up to 256 as counts say, valid
  // (libjpeg has checked it): no code is all ones.
  void Make(const uint8_t* counts, const uint8_t* symbols);

  ABSL_ATTRIBUTE_ALWAYS_INLINE JpegSymbol At(uint64_t next) const {
    const JpegSymbol symbol = lookup_[next >> (64 - kLookupBits)];
    return ABSL_PREDICT_TRUE(static_cast<bool>(symbol)) ? symbol : LongAt(next);
  }

  // That of a code of at most kLookupBits.
  JpegSymbol ShortAt(uint32_t next_lookup_bits) const { return lookup_[next_lookup_bits]; }

 private:
  JpegSymbol LongAt(uint64_t next) const;

  JpegSymbol lookup_[1 << kLookupBits];
  // By length: the first 16 bits that are beyond the codes of at most that length, and what has to be added to a code
  // for its place in symbols_.
  uint32_t limits_[17];
  int32_t offsets_[17];
  uint8_t symbols_[256];
};

// As many whole symbols as have their codes within the next bits, where only their lengths matter.
class JpegSkips {
 public:
  static constexpr int kLookupBits = JpegSymbols::kLookupBits;

  struct Skip {
    uint32_t bits;     // 0: not one.
    uint32_t advance;  // kJpegEndOfBlock added if the end of the block is the last.
  };

  void Make(const JpegSymbols& symbols);

  ABSL_ATTRIBUTE_ALWAYS_INLINE Skip At(uint64_t next) const {
    const uint32_t word = lookup_[next >> (64 - kLookupBits)];
    return {word & 63, word >> 6};
  }

 private:
  uint16_t lookup_[1 << kLookupBits];
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_JPEG_SYMBOLS_H_
