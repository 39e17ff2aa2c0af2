#include "data/dataset/tar.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// "a/../b" to "b".
std::string ResolveName(absl::string_view name) {
  std::vector<absl::string_view> parts;
  for (const absl::string_view part : absl::StrSplit(name, '/')) {
    if (part == ".." && !parts.empty()) {
      parts.pop_back();
    } else if (part != "." && !part.empty()) {
      parts.push_back(part);
    }
  }
  return absl::StrJoin(parts, "/");
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
bool ParsePax(absl::string_view records, std::string* path, std::string* target, int64_t* size, bool* sparse) {
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
    if (key == "linkpath") *target = std::string(value);
    if (key == "size" && (!absl::SimpleAtoi(value, size) || *size < 0)) return false;
    if (absl::StartsWith(key, "GNU.sparse.")) *sparse = true;
  }
  return true;
}

// What members are that are neither files, folders, links nor names, for counting.
absl::string_view KindOf(char kind) {
  switch (kind) {
    case '3':
    case '4':
      return "devices";
    case '6':
      return "FIFOs";
    case 'D':
      return "lists of a dumped folder";
    case 'M':
      return "continued files of another volume";
    case 'S':
      return "sparse files";
    case 'V':
      return "volume labels";
    default:
      return "members of unknown kinds";
  }
}

}  // namespace

std::string TarReader::CleanName(absl::string_view name) {
  std::string clean;
  for (const absl::string_view part : absl::StrSplit(name.substr(0, name.find('\0')), '/')) {
    if (part.empty() || part == "." || part == "..") continue;
    absl::StrAppend(&clean, clean.empty() ? "" : "/", part);
  }
  return clean;
}

absl::Status TarReader::SkipEnd() {
  // Archives are filled up with zeros, to 10 KiB usually; those that were put one after another go on behind them.
  char block[kBlock];
  for (; position_ < archive_size_; position_ += std::min(kBlock, archive_size_ - position_)) {
    const size_t count = std::min(kBlock, archive_size_ - position_);
    TEC_RETURN_IF_ERROR(read_at_(position_, count, block));
    if (std::all_of(block, block + count, [](char c) { return c == '\0'; })) continue;
    if (count == kBlock && ChecksumHolds(absl::string_view(block, kBlock))) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("something follows the end of the archive, at byte ", position_));
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

// The map of GNU's sparse files may go on in blocks of its own.
absl::Status TarReader::SkipSparseMap(const char* header) {
  char block[kBlock];
  for (bool more = header[482] != 0; more; more = block[504] != 0) {
    if (archive_size_ - position_ < kBlock) return absl::DataLossError("the archive ends in the map of a sparse file");
    TEC_RETURN_IF_ERROR(read_at_(position_, kBlock, block));
    position_ += kBlock;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> TarReader::Next(TarMember* member) {
  Extension said;
  while (true) {
    const uint64_t at = position_;
    const auto defect = [at](absl::string_view what) {
      return absl::DataLossError(absl::StrCat(what, " in the header at byte ", at));
    };
    if (at == archive_size_) {
      if (!said.name.empty()) return defect("a name without a file");
      return false;
    }
    if (archive_size_ - at < kBlock) return defect("the archive ends");
    char block[kBlock];
    TEC_RETURN_IF_ERROR(read_at_(at, kBlock, block));
    const absl::string_view header(block, kBlock);
    if (header.find_first_not_of('\0') == absl::string_view::npos) {
      TEC_RETURN_IF_ERROR(SkipEnd());
      if (position_ == archive_size_) return false;
      continue;
    }
    position_ += kBlock;
    if (!ChecksumHolds(header)) return defect("a bad checksum");
    int64_t size = Number(header.substr(124, 12));
    if (size < 0) return defect("a size that is no number");
    const char kind = header[156];
    const bool is_file = kind == '0' || kind == '\0' || kind == '7';
    const bool is_link = kind == '1' || kind == '2';
    if (is_file && said.size >= 0) size = said.size;
    if (is_link || (kind >= '3' && kind <= '6')) size = 0;  // Whatever the header says: there is no content.
    if (kind == 'S') TEC_RETURN_IF_ERROR(SkipSparseMap(block));
    const uint64_t left = archive_size_ - position_;
    if (static_cast<uint64_t>(size) > left) {
      return defect(absl::StrCat("a size of ", size, " bytes, where the archive ends after ", left, ","));
    }
    const uint64_t begin = position_;

    if (kind == 'L' || kind == 'K' || kind == 'x' || kind == 'X') {
      TEC_ASSIGN_OR_RETURN(const std::string text, ReadMeta(size));
      if (kind == 'L') {
        said.name = std::string(UpToZero(text));
      } else if (kind == 'K') {
        said.target = std::string(UpToZero(text));
      } else if (!ParsePax(text, &said.name, &said.target, &said.size, &said.sparse)) {
        return defect("broken PAX records");
      }
    }
    // The last member's padding may be missing.
    position_ += std::min((static_cast<uint64_t>(size) + kBlock - 1) / kBlock * kBlock, left);
    if (kind == 'L' || kind == 'K' || kind == 'x' || kind == 'X' || kind == 'g') continue;

    const Extension own = std::exchange(said, Extension());
    std::string name = own.name;
    if (name.empty()) {
      name = std::string(UpToZero(header.substr(0, 100)));
      const absl::string_view prefix = UpToZero(header.substr(345, 155));
      if (header.substr(257, 6) == absl::string_view("ustar\0", 6) && !prefix.empty()) {
        name = absl::StrCat(prefix, "/", name);
      }
    }
    if (kind == '5' || (is_file && kind != '7' && absl::EndsWith(name, "/"))) continue;  // The latter in v7 archives.
    if (!is_file && !is_link) {
      ++passed_over_[std::string(KindOf(kind))];
      continue;
    }
    if (own.sparse) {
      ++passed_over_["sparse files"];
      continue;
    }
    member->name = CleanName(name);
    if (member->name.empty()) {
      ++passed_over_["members without a name"];
      continue;
    }
    member->begin = begin;
    member->size = size;
    member->is_link = is_link;
    member->target.clear();
    if (is_link) {
      std::string target = own.target.empty() ? std::string(UpToZero(header.substr(157, 100))) : own.target;
      // A hard link counts from the archive's root, a symbolic one from its own folder.
      const size_t slash = name.rfind('/');
      if (kind == '2' && slash != std::string::npos && !absl::StartsWith(target, "/")) {
        target = ResolveName(absl::StrCat(name.substr(0, slash), "/", target));
      }
      member->target = CleanName(target);
    }
    return true;
  }
}

}  // namespace tec
