#include "data/dataset/tar.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr uint64_t kBlock = 512;
// Names and PAX records; longer ones are an attack.
constexpr uint64_t kMaxMeta = 1 << 20;

// Octal digits up to a blank or zero byte, or with the highest bit set a number of 8-bit digits (GNU's base-256). -1
// for anything else, and for numbers that do not fit.
int64_t Number(absl::string_view field) {
  if (static_cast<uint8_t>(field[0]) & 0x80) {
    if (static_cast<uint8_t>(field[0]) != 0x80) return -1;  // Negative, or above 2^63.
    uint64_t value = 0;
    for (const char c : field.substr(1)) {
      if (value >> 55 != 0) return -1;
      value = value << 8 | static_cast<uint8_t>(c);
    }
    return static_cast<int64_t>(value);
  }
  while (!field.empty() && field.front() == ' ') field.remove_prefix(1);
  int64_t value = 0;
  for (const char c : field) {
    if (c == '\0' || c == ' ') break;
    if (c < '0' || c > '7') return -1;
    value = value * 8 + (c - '0');  // 12 digits at most.
  }
  return value;
}

absl::string_view UpToZero(absl::string_view field) { return field.substr(0, field.find('\0')); }

bool ChecksumHolds(absl::string_view header) {
  constexpr size_t kField = 148, kSize = 8;
  int64_t plain = 0, with_sign = 0;  // Old programs took bytes for signed.
  for (size_t i = 0; i < kBlock; ++i) {
    const char c = i >= kField && i < kField + kSize ? ' ' : header[i];
    plain += static_cast<uint8_t>(c);
    with_sign += static_cast<int8_t>(c);
  }
  const int64_t stored = Number(header.substr(kField, kSize));
  return stored == plain || stored == with_sign;
}

// "LENGTH KEY=VALUE\n", over and over. False if it is not.
bool ParsePax(absl::string_view records, std::string* path, int64_t* size, bool* sparse) {
  while (!records.empty()) {
    const size_t blank = records.find(' ');
    uint64_t length;
    if (blank == absl::string_view::npos || blank > 10 || !absl::SimpleAtoi(records.substr(0, blank), &length) ||
        length <= blank + 1 || length > records.size() || records[length - 1] != '\n') {
      return false;
    }
    const absl::string_view record = records.substr(blank + 1, length - blank - 2);
    records.remove_prefix(length);
    const size_t equals = record.find('=');
    if (equals == absl::string_view::npos) return false;
    const absl::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") *path = std::string(value);
    if (key == "size" && (!absl::SimpleAtoi(value, size) || *size < 0)) return false;
    if (absl::StartsWith(key, "GNU.sparse.")) *sparse = true;
  }
  return true;
}

// `name` without "." parts; empty for a name that leads out of the archive's folder or nowhere.
std::string CleanName(absl::string_view name) {
  if (absl::StartsWith(name, "/") || name.find('\0') != absl::string_view::npos) return "";
  std::string clean;
  for (const absl::string_view part : absl::StrSplit(name, '/')) {
    if (part == "..") return "";
    if (part.empty() || part == ".") continue;
    absl::StrAppend(&clean, clean.empty() ? "" : "/", part);
  }
  return clean;
}

}  // namespace

absl::Status TarReader::ReadEnd() {
  // Archives are filled up with zeros, to 10 KiB usually.
  char block[kBlock];
  for (; position_ < archive_size_; position_ += kBlock) {
    const size_t count = std::min(kBlock, archive_size_ - position_);
    TEC_RETURN_IF_ERROR(read_at_(position_, count, block));
    if (std::any_of(block, block + count, [](char c) { return c != '\0'; })) {
      return absl::DataLossError(absl::StrCat("something follows the end of the archive, at byte ", position_));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TarReader::ReadMeta(uint64_t size) {
  if (size > kMaxMeta || size > archive_size_ - position_) {
    return absl::DataLossError(absl::StrCat("a header of ", size, " bytes before byte ", position_));
  }
  std::string text(size, '\0');
  TEC_RETURN_IF_ERROR(read_at_(position_, size, text.data()));
  return text;
}

absl::StatusOr<bool> TarReader::Next(TarMember* member) {
  std::string long_name;
  int64_t pax_size = -1;
  while (true) {
    const uint64_t at = position_;
    const auto defect = [at](absl::string_view what) {
      return absl::DataLossError(absl::StrCat(what, " in the header at byte ", at));
    };
    if (at == archive_size_) {
      if (!long_name.empty()) return defect("a name without a file");
      return false;
    }
    if (archive_size_ - at < kBlock) return defect("the archive ends");
    char block[kBlock];
    TEC_RETURN_IF_ERROR(read_at_(at, kBlock, block));
    const absl::string_view header(block, kBlock);
    position_ += kBlock;
    if (header.find_first_not_of('\0') == absl::string_view::npos) {
      TEC_RETURN_IF_ERROR(ReadEnd());
      return false;
    }
    if (!ChecksumHolds(header)) return defect("a bad checksum");
    int64_t size = Number(header.substr(124, 12));
    if (size < 0) return defect("a size that is no number");
    const char kind = header[156];
    const bool file = kind == '0' || kind == '\0' || kind == '7';
    if (file && pax_size >= 0) size = pax_size;
    const uint64_t left = archive_size_ - position_;
    if (static_cast<uint64_t>(size) > left) {
      return defect(absl::StrCat("a size of ", size, " bytes, where the archive ends after ", left, ","));
    }
    const uint64_t begin = position_;

    if (kind == 'L' || kind == 'x') {
      TEC_ASSIGN_OR_RETURN(const std::string text, ReadMeta(size));
      if (kind == 'L') {
        long_name = std::string(UpToZero(text));
      } else {
        bool sparse = false;
        if (!ParsePax(text, &long_name, &pax_size, &sparse)) return defect("broken PAX records");
        if (sparse) return absl::InvalidArgumentError(absl::StrCat("a sparse file at byte ", at));
      }
    } else if (!file && kind != '5' && kind != 'K' && kind != 'g') {
      return absl::InvalidArgumentError(absl::StrCat(kind == 'S'                  ? "a sparse file"
                                                     : kind == '1' || kind == '2' ? "a link"
                                                                                  : "neither a file nor a folder",
                                                     " at byte ", at));
    }
    // The last member's padding may be missing.
    position_ += std::min((static_cast<uint64_t>(size) + kBlock - 1) / kBlock * kBlock, left);
    if (kind == '5') {
      long_name.clear();
      pax_size = -1;
    }
    if (!file) continue;

    std::string name = long_name;
    if (name.empty()) {
      name = std::string(UpToZero(header.substr(0, 100)));
      const absl::string_view prefix = UpToZero(header.substr(345, 155));
      if (header.substr(257, 6) == absl::string_view("ustar\0", 6) && !prefix.empty()) {
        name = absl::StrCat(prefix, "/", name);
      }
    }
    if (kind != '7' && absl::EndsWith(name, "/")) {  // A folder of a v7 archive.
      long_name.clear();
      pax_size = -1;
      continue;
    }
    member->name = CleanName(name);
    if (member->name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the name \"", name, "\" at byte ", at, " is empty, absolute or leads out of the folder"));
    }
    member->begin = begin;
    member->size = size;
    return true;
  }
}

}  // namespace tec
