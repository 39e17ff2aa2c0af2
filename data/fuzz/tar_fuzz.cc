// Any bytes to the tar reader and to the index of a packed file.

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "data/dataset/pack.h"
#include "data/dataset/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto read_at = [&](uint64_t offset, size_t count, char* out) {
    if (offset > size || count > size - offset) std::abort();
    std::copy_n(data + offset, count, out);
    return absl::OkStatus();
  };
  tec::TarReader reader(read_at, size);
  tec::TarMember member;
  while (true) {
    const auto more = reader.Next(&member);
    if (!more.ok() || !*more) break;
    if (member.begin > size || member.size > size - member.begin || member.name.empty()) std::abort();
  }
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)tec::ReadPackCatalogue(bytes).ok();
  // The checksum would stop nearly every mutation: what lies behind it is tried with the right one.
  if (size >= 12) {
    std::string with_checksum(bytes);
    const uint32_t crc = crc32_z(0, data + 12, size - 12);
    std::copy_n(reinterpret_cast<const char*>(&crc), 4, &with_checksum[8]);
    std::vector<tec::Stamp> stamps;
    (void)tec::ParseCatalogue(with_checksum, &stamps).ok();
  }
  return 0;
}
