#include "tec/run/event_file.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tec {
namespace {

constexpr uint32_t kCastagnoliReversed = 0x82F63B78;

std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table;
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kCastagnoliReversed : 0);
    table[i] = crc;
  }
  return table;
}

template <typename T>
std::string LittleEndian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

template <typename T>
T FromLittleEndian(absl::string_view bytes) {
  T value = 0;
  for (size_t i = sizeof(T); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace

std::vector<std::string> EventFiles(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (absl::StartsWith(entry->path().filename().string(), kEventFilePrefix)) paths.push_back(entry->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

uint32_t Crc32c(absl::string_view bytes) {
  static const std::array<uint32_t, 256> table = MakeCrcTable();
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

uint32_t MaskedCrc32c(absl::string_view bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
}

std::string FramedRecord(absl::string_view record) {
  const std::string length = LittleEndian<uint64_t>(record.size());
  return absl::StrCat(length, LittleEndian(MaskedCrc32c(length)), record, LittleEndian(MaskedCrc32c(record)));
}

std::optional<EventRecord> TakeRecord(absl::string_view* rest) {
  constexpr size_t kHead = 12, kTail = 4;  // The length and its checksum; the record's.
  if (rest->size() < kHead + kTail) return std::nullopt;
  const auto length = FromLittleEndian<uint64_t>(*rest);
  if (length > rest->size() - kHead - kTail) return std::nullopt;
  EventRecord taken;
  taken.framed = rest->substr(0, kHead + length + kTail);
  taken.record = taken.framed.substr(kHead, length);
  if (FromLittleEndian<uint32_t>(taken.framed.substr(8)) != MaskedCrc32c(taken.framed.substr(0, 8)) ||
      FromLittleEndian<uint32_t>(taken.framed.substr(kHead + length)) != MaskedCrc32c(taken.record)) {
    return std::nullopt;
  }
  rest->remove_prefix(taken.framed.size());
  return taken;
}

}  // namespace tec
