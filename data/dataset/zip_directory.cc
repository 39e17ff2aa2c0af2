#include "data/dataset/zip_directory.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr size_t kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20, kEntrySize = 46, kLocalSize = 30;
constexpr size_t kMostComment = 65535;
constexpr size_t kPiece = size_t{1} << 20;

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

absl::Status Damaged(absl::string_view what) { return absl::DataLossError(what); }

// The 64-bit value of the extra fields that stands for a 32-bit one that says so; false if there is none.
bool Widen(absl::string_view* wide, uint64_t* value) {
  if (*value != 0xFFFFFFFF) return true;
  if (wide->size() < 8) return false;
  *value = Load<uint64_t>(wide->data());
  wide->remove_prefix(8);
  return true;
}

// The content of the ZIP64 field; empty without one.
absl::string_view Zip64Field(absl::string_view extra) {
  while (extra.size() >= 4) {
    const uint16_t id = Load<uint16_t>(extra.data()), size = Load<uint16_t>(extra.data() + 2);
    if (size > extra.size() - 4) break;
    if (id == 1) return extra.substr(4, size);
    extra.remove_prefix(size_t{4} + size);
  }
  return {};
}

std::string ObstacleOf(uint16_t flags, uint16_t method) {
  if (flags & 1) return "encrypted files";
  if (method != 0 && method != 8) {
    return absl::StrCat("files compressed in another way than deflate (method ", method, ")");
  }
  return "";
}

}  // namespace

absl::StatusOr<ZipDirectory> ZipDirectory::Open(ReadAt read_at, uint64_t archive_size) {
  ZipDirectory directory(std::move(read_at));
  const uint64_t tail_size = std::min<uint64_t>(archive_size, kEndSize + kMostComment);
  std::string tail(tail_size, '\0');
  TEC_RETURN_IF_ERROR(directory.read_at_(archive_size - tail_size, tail_size, tail.data()));
  // The last one: a comment may follow it.
  const size_t record = tail_size < kEndSize ? std::string::npos : tail.rfind("PK\5\6", tail_size - kEndSize);
  if (record == std::string::npos) return Damaged("no zip directory at its end: the archive is cut or no zip");
  const char* end = tail.data() + record;
  uint64_t count = Load<uint16_t>(end + 10), size = Load<uint32_t>(end + 12), begin = Load<uint32_t>(end + 16);
  constexpr uint16_t kElsewhere = 0xFFFF;  // The ZIP64 record has it.
  const uint16_t volume = Load<uint16_t>(end + 4);
  bool volumes = volume != 0 && volume != kElsewhere;
  uint64_t place = archive_size - tail_size + record;  // Where the directory should end.
  if (place >= kLocatorSize) {
    char locator[kLocatorSize], end64[kEnd64Size];
    TEC_RETURN_IF_ERROR(directory.read_at_(place - kLocatorSize, kLocatorSize, locator));
    if (std::memcmp(locator, "PK\6\7", 4) == 0) {
      // Right before the locator, as zipfile takes it, which is where it also is behind something in front.
      if (place < kLocatorSize + kEnd64Size) return Damaged("no ZIP64 record before its locator");
      place -= kLocatorSize + kEnd64Size;
      TEC_RETURN_IF_ERROR(directory.read_at_(place, kEnd64Size, end64));
      if (std::memcmp(end64, "PK\6\6", 4) != 0) return Damaged("no ZIP64 record before its locator");
      volumes = Load<uint32_t>(locator + 16) > 1;
      count = Load<uint64_t>(end64 + 32);
      size = Load<uint64_t>(end64 + 40);
      begin = Load<uint64_t>(end64 + 48);
    }
  }
  if (volumes) {
    return absl::InvalidArgumentError("a zip of several volumes: put them together (zip -s 0 IN --out OUT)");
  }
  if (size > place || begin > place - size) return Damaged("the zip directory is not where its end says");
  if (count > size / kEntrySize) return Damaged("the zip directory cannot hold the files that its end counts");
  directory.shift_ = place - size - begin;
  directory.begin_ = directory.position_ = place - size;
  directory.end_ = place;
  return directory;
}

absl::StatusOr<const char*> ZipDirectory::Take(size_t count) {
  if (buffer_.size() - taken_ < count) {
    if (count - (buffer_.size() - taken_) > end_ - position_) return Damaged("the zip directory is cut");
    buffer_.erase(0, taken_);
    taken_ = 0;
    const size_t before = buffer_.size();
    buffer_.resize(before + std::min<uint64_t>(std::max(kPiece, count - before), end_ - position_));
    TEC_RETURN_IF_ERROR(read_at_(position_, buffer_.size() - before, &buffer_[before]));
    position_ += buffer_.size() - before;
  }
  const char* bytes = buffer_.data() + taken_;
  taken_ += count;
  return bytes;
}

absl::StatusOr<bool> ZipDirectory::Next(ZipMember* member) {
  while (position_ < end_ || taken_ < buffer_.size()) {
    TEC_ASSIGN_OR_RETURN(const char* fixed, Take(kEntrySize));
    if (std::memcmp(fixed, "PK\1\2", 4) != 0) return Damaged("the zip directory is damaged");
    const uint8_t made_on = fixed[5];
    const uint16_t flags = Load<uint16_t>(fixed + 8), method = Load<uint16_t>(fixed + 10);
    member->checksum = Load<uint32_t>(fixed + 16);
    member->stored = Load<uint32_t>(fixed + 20);
    member->size = Load<uint32_t>(fixed + 24);
    const uint16_t name_size = Load<uint16_t>(fixed + 28), extra_size = Load<uint16_t>(fixed + 30);
    const uint16_t comment_size = Load<uint16_t>(fixed + 32);
    const uint32_t unix_mode = Load<uint32_t>(fixed + 38) >> 16;
    member->begin = Load<uint32_t>(fixed + 42);
    TEC_ASSIGN_OR_RETURN(const char* rest, Take(size_t{name_size} + extra_size + comment_size));
    member->name.assign(rest, name_size);
    absl::string_view wide = Zip64Field(absl::string_view(rest + name_size, extra_size));
    if (!Widen(&wide, &member->size) || !Widen(&wide, &member->stored) || !Widen(&wide, &member->begin)) {
      return Damaged("a ZIP64 value of the zip directory is missing");
    }
    constexpr uint8_t kFat = 0, kNtfs = 10;
    if ((made_on == kFat || made_on == kNtfs) && !absl::StrContains(member->name, '/')) {
      std::replace(member->name.begin(), member->name.end(), '\\', '/');
    }
    if (absl::EndsWith(member->name, "/")) continue;
    member->obstacle = ObstacleOf(flags, method);
    constexpr uint32_t kTypeMask = 0170000, kLink = 0120000;
    constexpr uint8_t kUnix = 3;
    if (made_on == kUnix && (unix_mode & kTypeMask) == kLink) member->obstacle = "links";
    member->deflated = method == 8;
    if (member->begin > begin_ || member->begin + shift_ > begin_ || begin_ - member->begin - shift_ < kLocalSize ||
        member->stored > begin_ - member->begin - shift_ - kLocalSize) {
      return Damaged("a file of the zip directory does not lie in the archive");
    }
    member->begin += shift_;
    constexpr uint64_t kMostSaved = 1032;  // By deflate.
    if (method == 8 && member->size / kMostSaved > member->stored) {
      return Damaged("a file of the zip directory has a size that its bytes cannot hold");
    }
    if (method == 0 && member->size != member->stored) return Damaged("a file of the zip directory has two sizes");
    return true;
  }
  return false;
}

}  // namespace tec
