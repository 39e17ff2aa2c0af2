#include "data/image/jpeg_symbols.h"

#include <algorithm>
#include <iterator>

namespace tec {

void JpegSymbols::Make(const uint8_t* counts, const uint8_t* symbols) {
  JpegSymbol* lookup = lookup_;
  int code = 0, place = 0;
  for (int length = 1; length <= 16; ++length, code *= 2) {
    offsets_[length] = place - code;
    for (int i = 0; i < counts[length]; ++i, ++code, ++place) {
      symbols_[place] = symbols[place];
      if (length > kLookupBits) continue;
      lookup = std::fill_n(lookup, 1 << (kLookupBits - length), JpegSymbol(length, symbols[place]));
    }
    limits_[length] = static_cast<uint32_t>(code) << (16 - length);
  }
  const JpegSymbol none = {};
  std::fill(lookup, std::end(lookup_), none);
}

JpegSymbol JpegSymbols::LongAt(uint64_t next) const {
  const uint32_t next16 = static_cast<uint32_t>(next >> 48);
  for (int length = kLookupBits + 1; length <= 16; ++length) {
    if (next16 < limits_[length]) {
      return JpegSymbol(length, symbols_[static_cast<int>(next16 >> (16 - length)) + offsets_[length]]);
    }
  }
  return {};
}

void JpegSkips::Make(const JpegSymbols& symbols) {
  constexpr uint32_t kMask = (1 << kLookupBits) - 1;
  for (uint32_t next = 0; next <= kMask; ++next) {
    uint32_t bits = 0, advance = 0;
    // No block is longer than 64 coefficients.
    while (bits < kLookupBits && advance < 64) {
      const JpegSymbol symbol = symbols.ShortAt(next << bits & kMask);
      if (!symbol || bits + symbol.code_bits() > kLookupBits) break;
      bits += symbol.bits();
      advance += symbol.advance();
    }
    lookup_[next] = static_cast<uint16_t>(bits | advance << 6);
  }
}

}  // namespace tec
