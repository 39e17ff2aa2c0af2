#include "data/testing/mutate.h"

#include <algorithm>

#include "tec/base/random.h"

namespace tec {
namespace testing {

std::string Mutate(absl::string_view bytes, uint64_t number) {
  RandomStream stream(RandomKey{7, RandomPurpose::kPictures, 0, number});
  std::string result(bytes);
  const int changes = 1 + static_cast<int>(stream.UniformInt(4));
  for (int i = 0; i < changes && !result.empty(); ++i) {
    const size_t reach = stream.Bernoulli(0.5) ? std::min<size_t>(result.size(), 128) : result.size();
    const size_t at = stream.UniformInt(reach);
    const size_t left = result.size() - at;
    const size_t length = 1 + stream.UniformInt(std::min<size_t>(left, 64));
    constexpr uint32_t kExtremes[] = {0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
    switch (stream.UniformInt(8)) {
      case 0:
        result[at] ^= 1 << stream.UniformInt(8);
        break;
      case 1:
        result[at] = static_cast<char>(stream.NextUint32());
        break;
      case 2:
      case 3: {
        const uint32_t value = kExtremes[stream.UniformInt(std::size(kExtremes))];
        const size_t count = std::min<size_t>(left, stream.Bernoulli(0.5) ? 2 : 4);
        const bool big_endian = stream.Bernoulli(0.5);
        for (size_t b = 0; b < count; ++b) result[at + b] = value >> 8 * (big_endian ? count - 1 - b : b);
        break;
      }
      case 4:
        result.resize(at);
        break;
      case 5:
        result.erase(at, length);
        break;
      case 6:
        result.insert(at, std::string(result, at, length));
        break;
      default: {
        const std::string moved(result, at, length);
        result.erase(at, length);
        result.insert(result.empty() ? 0 : stream.UniformInt(result.size() + 1), moved);
      }
    }
  }
  return result;
}

}  // namespace testing
}  // namespace tec
