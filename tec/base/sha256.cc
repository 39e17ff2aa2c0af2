#include "tec/base/sha256.h"

#include <errno.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "absl/strings/str_format.h"
#include "tec/base/file.h"

namespace tec {
namespace {

constexpr std::array<uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t Rotate(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

using Hash = std::array<uint32_t, 8>;

constexpr Hash kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// Takes whole blocks of 64 bytes into the hash.
void AddBlocks(absl::string_view blocks, Hash* hash) {
  for (size_t block = 0; block < blocks.size(); block += 64) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i) {
      w[i] = 0;
      for (int b = 0; b < 4; ++b) w[i] = w[i] << 8 | static_cast<uint8_t>(blocks[block + 4 * i + b]);
    }
    for (int i = 16; i < 64; ++i) {
      const uint32_t s0 = Rotate(w[i - 15], 7) ^ Rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const uint32_t s1 = Rotate(w[i - 2], 17) ^ Rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = *hash;
    for (int i = 0; i < 64; ++i) {
      const uint32_t t1 =
          h + (Rotate(e, 6) ^ Rotate(e, 11) ^ Rotate(e, 25)) + ((e & f) ^ (~e & g)) + kRoundConstants[i] + w[i];
      const uint32_t t2 = (Rotate(a, 2) ^ Rotate(a, 13) ^ Rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const Hash sum = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) (*hash)[i] += sum[i];
  }
}

// The hash of a message of `size` bytes, of which `rest`, fewer than 64, are not in `hash` yet.
std::string Finish(absl::string_view rest, uint64_t size, Hash hash) {
  std::string padded(rest);
  padded.push_back('\x80');
  while (padded.size() % 64 != 56) padded.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8) padded.push_back(static_cast<char>(size * 8 >> shift));
  AddBlocks(padded, &hash);
  std::string text;
  for (const uint32_t word : hash) absl::StrAppendFormat(&text, "%08x", word);
  return text;
}

}  // namespace

std::string Sha256(absl::string_view bytes) {
  Hash hash = kStart;
  const size_t whole = bytes.size() / 64 * 64;
  AddBlocks(bytes.substr(0, whole), &hash);
  return Finish(bytes.substr(whole), bytes.size(), hash);
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (file == nullptr) return ErrnoToStatus(errno, "cannot open", path);
  Hash hash = kStart;
  uint64_t size = 0;
  std::string buffer(1 << 20, '\0');
  while (true) {
    // A short read is the file's end or an error: whole blocks till then.
    const size_t read = std::fread(&buffer[0], 1, buffer.size(), file.get());
    size += read;
    const size_t whole = read / 64 * 64;
    AddBlocks(absl::string_view(buffer).substr(0, whole), &hash);
    if (read == buffer.size()) continue;
    if (std::ferror(file.get())) return ErrnoToStatus(errno, "cannot read", path);
    return Finish(absl::string_view(buffer).substr(whole, read - whole), size, hash);
  }
}

}  // namespace tec
