// bfloat16 as the uint16_t of its bits, for loops on a CPU: the values of c10::BFloat16, a class with a branch where it
// rounds, which GCC does not turn into vectors (residual and norm take three times as long with it).
//
//   template <typename X, typename B>  // float and uint16_t, or twice the same
//   ...
//   out[i] = RoundedTo<B>(ValueOf<X>(in[i]) * 2);

#ifndef TEC_NN_BFLOAT16_BITS_H_
#define TEC_NN_BFLOAT16_BITS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace tec {

inline float FloatOfBits(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// Rounded to the nearest, halves to the even one; NaN becomes 0x7fc0.
inline uint16_t BitsOfFloat(float value) {
  uint32_t wide;
  std::memcpy(&wide, &value, sizeof(wide));
  const uint32_t rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(value == value ? rounded : 0x7fc0);
}

// Of an element of a loop that is written once for bfloat16 (as uint16_t), float and double.
template <typename Wide, typename Stored>
Wide ValueOf(Stored stored) {
  if constexpr (std::is_same_v<Stored, uint16_t>) {
    return FloatOfBits(stored);
  } else {
    return static_cast<Wide>(stored);
  }
}

template <typename Stored, typename Wide>
Stored RoundedTo(Wide value) {
  if constexpr (std::is_same_v<Stored, uint16_t>) {
    return BitsOfFloat(value);
  } else {
    return static_cast<Stored>(value);
  }
}

}  // namespace tec

#endif  // TEC_NN_BFLOAT16_BITS_H_
