#include "tec/base/random.h"

#include <cmath>
#include <utility>

namespace tec {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

namespace {

// Spreads all 64-bit words of the key over Philox's 64-bit key (SplitMix64's finaliser), so that no two keys that
// differ in a small number share a stream.
uint64_t Mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

RandomStream::RandomStream(const RandomKey& key) {
  const uint64_t mixed = Mix(Mix(key.seed) ^ (uint64_t{static_cast<uint32_t>(key.purpose)} << 32) ^ key.epoch);
  key_ = {static_cast<uint32_t>(mixed), static_cast<uint32_t>(mixed >> 32)};
  // The sample is the upper half of the counter, the position in the stream the lower: streams of one epoch never
  // overlap.
  counter_ = {0, 0, static_cast<uint32_t>(key.sample), static_cast<uint32_t>(key.sample >> 32)};
}

uint32_t RandomStream::NextUint32() {
  if (used_ == 4) {
    block_ = Philox4x32(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    used_ = 0;
  }
  return block_[used_++];
}

uint64_t RandomStream::NextUint64() {
  const uint64_t high = NextUint32();
  return (high << 32) | NextUint32();
}

double RandomStream::NextDouble() { return static_cast<double>(NextUint64() >> 11) * 0x1p-53; }

float RandomStream::NextFloat() { return static_cast<float>(NextUint32() >> 8) * 0x1p-24f; }

uint64_t RandomStream::UniformInt(uint64_t bound) {
  // Values below 2^64 mod bound would make the small results likelier: draw again.
  const uint64_t threshold = (0 - bound) % bound;
  uint64_t value = NextUint64();
  while (value < threshold) value = NextUint64();
  return value % bound;
}

double RandomStream::Normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - NextDouble()));  // 1 - u is never zero.
  return radius * std::cos(6.283185307179586476925 * NextDouble());
}

std::vector<int64_t> RandomPermutation(int64_t n, RandomStream& stream) {
  std::vector<int64_t> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[stream.UniformInt(i + 1)]);
  return order;
}

}  // namespace tec
