// A 64-bit number for whatever a stored result was computed from, so that it is not taken for another's. It guards
// against mistakes, not against malice.

#ifndef TEC_BASE_FINGERPRINT_H_
#define TEC_BASE_FINGERPRINT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace tec {

// FNV-1a over 8-byte words instead of bytes, with the length of every piece.
class Fingerprint {
 public:
  Fingerprint& Add(const void* bytes, size_t size) {
    Mix(size);
    const char* at = static_cast<const char*>(bytes);
    for (; size >= 8; size -= 8, at += 8) {
      uint64_t word;
      std::memcpy(&word, at, 8);
      Mix(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, at, size);
    Mix(rest);
    return *this;
  }
  Fingerprint& Add(absl::string_view text) { return Add(text.data(), text.size()); }

  uint64_t value() const { return hash_; }

 private:
  void Mix(uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001b3;
    hash_ ^= hash_ >> 29;  // A product only carries upwards.
  }

  uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace tec

#endif  // TEC_BASE_FINGERPRINT_H_
