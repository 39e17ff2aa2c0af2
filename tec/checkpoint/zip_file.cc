// Somewhat longer than a file should be: the reader makes the end of the file again as the writer does and compares, so
// that both have the signatures, the sizes and Tail in common.

#include "tec/checkpoint/zip_file.h"

#include <string.h>
#include <zlib.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr uint32_t kDescriptorSignature = 0x08074b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kPaddingExtra = 0x4246;  // "FB", PyTorch's.
constexpr uint16_t kFlagEncrypted = 1, kFlagDescriptor = 8, kFlagUtf8 = 0x800;
// Far more than the largest checkpoints have (some thousand entries), and little enough that the list of them stays
// small: 20 MiB with the names.
constexpr uint64_t kMaxDirectory = uint64_t{8} << 20;
constexpr uint64_t kMaxEntries = 50'000;
constexpr size_t kAlignment = 64;

absl::Status Damaged(absl::string_view message) { return absl::DataLossError(message); }
absl::Status Refused(absl::string_view message) { return absl::InvalidArgumentError(message); }

template <typename T>
T Load(absl::string_view bytes, size_t offset) {
  TEC_CHECK(offset + sizeof(T) <= bytes.size());
  T value;
  memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void Append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// The ZIP64 extra field's values, or nothing if there is none. DataLoss if the fields do not fill `extra` exactly.
absl::StatusOr<std::vector<uint64_t>> Zip64Values(absl::string_view extra) {
  std::vector<uint64_t> values;
  while (!extra.empty()) {
    if (extra.size() < 4) return Damaged("an extra field is cut");
    const uint16_t id = Load<uint16_t>(extra, 0), size = Load<uint16_t>(extra, 2);
    if (size > extra.size() - 4) return Damaged("an extra field is longer than its room");
    if (id == kZip64Extra) {
      if (!values.empty()) return Damaged("two ZIP64 fields");
      for (size_t i = 0; i + 8 <= size; i += 8) values.push_back(Load<uint64_t>(extra, 4 + i));
    }
    extra.remove_prefix(4 + size);
  }
  return values;
}

// Puts the next ZIP64 value in the place of a 32-bit field that says so.
absl::Status Widen(uint64_t& value, const std::vector<uint64_t>& wide, size_t& next) {
  if (value != 0xFFFFFFFF) return absl::OkStatus();
  if (next == wide.size()) return Damaged("a ZIP64 value is missing");
  value = wide[next++];
  return absl::OkStatus();
}

// The end record with the ZIP64 records before it, if there are.
struct Directory {
  uint64_t begin = 0, size = 0, count = 0;
};

absl::StatusOr<Directory> FindDirectory(absl::string_view bytes) {
  if (bytes.size() < kEndSize) return Damaged("the file is cut: no zip directory at its end");
  size_t end = bytes.size() - kEndSize;
  const size_t lowest = end > 0xFFFF ? end - 0xFFFF : 0;
  for (;; --end) {
    if (Load<uint32_t>(bytes, end) == kEndSignature &&
        Load<uint16_t>(bytes, end + 20) == bytes.size() - end - kEndSize) {
      break;
    }
    if (end == lowest) {
      // No further than a record may lie from the end: the file may be a sparse one of any size.
      const absl::string_view tail = bytes.substr(lowest);
      const size_t record = tail.rfind(absl::string_view("PK\x05\x06", 4));
      if (record == absl::string_view::npos) return Damaged("the file is cut: no zip directory at its end");
      return Damaged(tail.size() - record < kEndSize ? "the file is cut inside its last record"
                                                     : "the file does not end where its last record does");
    }
  }
  Directory directory;
  directory.count = Load<uint16_t>(bytes, end + 10);
  directory.size = Load<uint32_t>(bytes, end + 12);
  directory.begin = Load<uint32_t>(bytes, end + 16);
  if (Load<uint32_t>(bytes, end + 4) != 0 || Load<uint16_t>(bytes, end + 8) != directory.count) {
    return Refused("the archive is spread over several files");
  }
  uint64_t directory_end = end;
  if (end >= kLocator64Size && Load<uint32_t>(bytes, end - kLocator64Size) == kLocator64Signature) {
    const size_t locator = end - kLocator64Size;
    const uint64_t end64 = Load<uint64_t>(bytes, locator + 8);
    if (locator < kEnd64Size || end64 != locator - kEnd64Size || Load<uint32_t>(bytes, end64) != kEnd64Signature ||
        Load<uint64_t>(bytes, end64 + 4) != kEnd64Size - 12) {
      return Damaged("the ZIP64 end record is not where its locator says");
    }
    Directory wide;
    wide.count = Load<uint64_t>(bytes, end64 + 32);
    wide.size = Load<uint64_t>(bytes, end64 + 40);
    wide.begin = Load<uint64_t>(bytes, end64 + 48);
    if (Load<uint64_t>(bytes, end64 + 16) != 0 || Load<uint64_t>(bytes, end64 + 24) != wide.count ||
        Load<uint32_t>(bytes, locator + 4) != 0 || Load<uint32_t>(bytes, locator + 16) != 1) {
      return Refused("the archive is spread over several files");
    }
    if ((directory.count != 0xFFFF && directory.count != wide.count) ||
        (directory.size != 0xFFFFFFFF && directory.size != wide.size) ||
        (directory.begin != 0xFFFFFFFF && directory.begin != wide.begin)) {
      return Damaged("the two end records disagree");
    }
    directory = wide;
    directory_end = end64;
  }
  if (directory.begin > directory_end || directory.size != directory_end - directory.begin) {
    return Damaged("the zip directory is not where the end record says");
  }
  if (directory.count > directory.size / kCentralSize) {
    return Damaged(absl::StrCat("the zip directory cannot hold the ", directory.count, " entries it claims"));
  }
  if (directory.size > kMaxDirectory) return Refused("the zip directory is larger than 8 MiB");
  if (directory.count > kMaxEntries) return Refused("the archive has more than 50,000 entries");
  return directory;
}

// Whether a data descriptor stands at `offset`; its size, or 0.
size_t DescriptorSize(absl::string_view bytes, uint64_t offset, uint64_t limit, const ZipEntry& entry) {
  for (const bool wide : {false, true}) {
    const size_t size = 4 + 4 + (wide ? 16 : 8);
    if (offset > limit || size > limit - offset) continue;
    const uint64_t compressed = wide ? Load<uint64_t>(bytes, offset + 8) : Load<uint32_t>(bytes, offset + 8);
    const uint64_t plain = wide ? Load<uint64_t>(bytes, offset + 16) : Load<uint32_t>(bytes, offset + 12);
    if (Load<uint32_t>(bytes, offset) == kDescriptorSignature && Load<uint32_t>(bytes, offset + 4) == entry.crc &&
        compressed == entry.size && plain == entry.size) {
      return size;
    }
  }
  return 0;
}

// Checks the local header of `entry` against the directory's word and sets its data; returns where the entry ends.
absl::StatusOr<uint64_t> CheckLocal(absl::string_view bytes, uint64_t limit, uint16_t flags, ZipEntry* entry) {
  const uint64_t begin = entry->header_offset;
  if (begin > limit || kLocalSize > limit - begin) return Damaged("its header lies beyond the entries");
  if (Load<uint32_t>(bytes, begin) != kLocalSignature) return Damaged("no header where the directory says");
  const uint16_t local_flags = Load<uint16_t>(bytes, begin + 6);
  const uint64_t name_size = Load<uint16_t>(bytes, begin + 26), extra_size = Load<uint16_t>(bytes, begin + 28);
  if (name_size + extra_size > limit - begin - kLocalSize) return Damaged("its header is cut");
  if (bytes.substr(begin + kLocalSize, name_size) != entry->name) return Damaged("its header has another name");
  if (local_flags != flags || Load<uint16_t>(bytes, begin + 8) != 0) {
    return Damaged("its header disagrees with the directory");
  }
  TEC_ASSIGN_OR_RETURN(const std::vector<uint64_t> wide,
                       Zip64Values(bytes.substr(begin + kLocalSize + name_size, extra_size)));
  const uint32_t crc = Load<uint32_t>(bytes, begin + 14);
  uint64_t compressed = Load<uint32_t>(bytes, begin + 18), plain = Load<uint32_t>(bytes, begin + 22);
  const bool descriptor = flags & kFlagDescriptor;
  if (!(descriptor && crc == 0) && crc != entry->crc) return Damaged("its header has another CRC");
  // The order is plain, then compressed. With a descriptor PyTorch leaves the values out or at zero.
  size_t next = 0;
  if (!descriptor) {
    TEC_RETURN_IF_ERROR(Widen(plain, wide, next));
    TEC_RETURN_IF_ERROR(Widen(compressed, wide, next));
  }
  const auto agrees = [&](uint64_t size) {
    return size == entry->size || (descriptor && (size == 0 || size == 0xFFFFFFFF));
  };
  if (!agrees(compressed) || !agrees(plain)) return Damaged("its header has another size");
  const uint64_t data = begin + kLocalSize + name_size + extra_size;
  if (entry->size > limit - data) return Damaged("it ends beyond the entries");
  entry->data = bytes.substr(data, entry->size);
  uint64_t end = data + entry->size;
  if (descriptor) {
    const size_t size = DescriptorSize(bytes, end, limit, *entry);
    if (size == 0) return Damaged("its data descriptor is wrong");
    end += size;
  }
  return end;
}

std::string LocalHeader(const ZipEntry& entry, uint64_t zip64_from) {
  const bool wide = entry.size >= zip64_from;
  std::string out;
  Append<uint32_t>(out, kLocalSignature);
  Append<uint16_t>(out, wide ? 45 : 20);
  Append<uint16_t>(out, kFlagUtf8);
  Append<uint16_t>(out, 0);  // Stored.
  Append<uint32_t>(out, 0);  // No time: equal states give equal files.
  Append<uint32_t>(out, entry.crc);
  Append<uint32_t>(out, wide ? 0xFFFFFFFF : entry.size);
  Append<uint32_t>(out, wide ? 0xFFFFFFFF : entry.size);
  Append<uint16_t>(out, entry.name.size());
  const size_t before_padding = kLocalSize + entry.name.size() + (wide ? 20 : 0) + 4;
  const size_t padding = (kAlignment - (entry.header_offset + before_padding) % kAlignment) % kAlignment;
  Append<uint16_t>(out, (wide ? 20 : 0) + 4 + padding);
  out += entry.name;
  if (wide) {
    Append<uint16_t>(out, kZip64Extra);
    Append<uint16_t>(out, 16);
    Append<uint64_t>(out, entry.size);
    Append<uint64_t>(out, entry.size);
  }
  Append<uint16_t>(out, kPaddingExtra);
  Append<uint16_t>(out, padding);
  out.append(padding, 'Z');
  return out;
}

// The checksum entry and all that follows it, as a function of the entries before it. The reader makes it again and
// compares, so that no byte of it goes unchecked.
std::string Tail(std::vector<ZipEntry> entries, absl::string_view root, uint64_t offset, uint32_t crc,
                 uint64_t zip64_from) {
  const std::string checksum = absl::StrFormat("crc32 %08x over the first %d bytes\n", crc, offset);
  ZipEntry last;
  last.name = absl::StrCat(root, "/", kZipChecksumName);
  last.header_offset = offset;
  last.size = checksum.size();
  last.crc = crc32(crc32(0, nullptr, 0), reinterpret_cast<const Bytef*>(checksum.data()), checksum.size());
  std::string out = LocalHeader(last, zip64_from) + checksum;
  entries.push_back(std::move(last));

  const uint64_t begin = offset + out.size();
  for (const ZipEntry& entry : entries) {
    const bool wide_size = entry.size >= zip64_from, wide_offset = entry.header_offset >= zip64_from;
    const uint16_t wide_bytes = (wide_size ? 16 : 0) + (wide_offset ? 8 : 0);
    Append<uint32_t>(out, kCentralSignature);
    Append<uint16_t>(out, wide_bytes > 0 ? 45 : 20);
    Append<uint16_t>(out, wide_bytes > 0 ? 45 : 20);
    Append<uint16_t>(out, kFlagUtf8);
    Append<uint16_t>(out, 0);
    Append<uint32_t>(out, 0);
    Append<uint32_t>(out, entry.crc);
    Append<uint32_t>(out, wide_size ? 0xFFFFFFFF : entry.size);
    Append<uint32_t>(out, wide_size ? 0xFFFFFFFF : entry.size);
    Append<uint16_t>(out, entry.name.size());
    Append<uint16_t>(out, wide_bytes > 0 ? 4 + wide_bytes : 0);
    Append<uint16_t>(out, 0);  // Comment.
    Append<uint16_t>(out, 0);  // Disk.
    Append<uint16_t>(out, 0);  // Internal attributes.
    Append<uint32_t>(out, 0);  // External attributes.
    Append<uint32_t>(out, wide_offset ? 0xFFFFFFFF : entry.header_offset);
    out += entry.name;
    if (wide_bytes > 0) {
      Append<uint16_t>(out, kZip64Extra);
      Append<uint16_t>(out, wide_bytes);
      if (wide_size) Append<uint64_t>(out, entry.size);
      if (wide_size) Append<uint64_t>(out, entry.size);
      if (wide_offset) Append<uint64_t>(out, entry.header_offset);
    }
  }
  const uint64_t size = offset + out.size() - begin;
  const uint64_t end64 = begin + size;
  Append<uint32_t>(out, kEnd64Signature);
  Append<uint64_t>(out, kEnd64Size - 12);
  Append<uint16_t>(out, 45);
  Append<uint16_t>(out, 45);
  Append<uint32_t>(out, 0);
  Append<uint32_t>(out, 0);
  Append<uint64_t>(out, entries.size());
  Append<uint64_t>(out, entries.size());
  Append<uint64_t>(out, size);
  Append<uint64_t>(out, begin);
  Append<uint32_t>(out, kLocator64Signature);
  Append<uint32_t>(out, 0);
  Append<uint64_t>(out, end64);
  Append<uint32_t>(out, 1);
  Append<uint32_t>(out, kEndSignature);
  Append<uint16_t>(out, 0);
  Append<uint16_t>(out, 0);
  Append<uint16_t>(out, std::min<uint64_t>(entries.size(), 0xFFFF));
  Append<uint16_t>(out, std::min<uint64_t>(entries.size(), 0xFFFF));
  Append<uint32_t>(out, std::min<uint64_t>(size, 0xFFFFFFFF));
  Append<uint32_t>(out, begin >= zip64_from ? 0xFFFFFFFF : begin);
  Append<uint16_t>(out, 0);
  return out;
}

}  // namespace

absl::StatusOr<ZipReader> ZipReader::Open(std::shared_ptr<const MappedFile> file) {
  const absl::string_view bytes = file->bytes();
  TEC_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes));
  ZipReader reader;
  reader.file_ = std::move(file);
  struct Range {
    uint64_t begin, end;
  };
  std::vector<Range> ranges;
  ranges.reserve(directory.count);
  reader.entries_.reserve(directory.count);
  uint64_t position = directory.begin;
  const uint64_t directory_end = directory.begin + directory.size;
  for (uint64_t i = 0; i < directory.count; ++i) {
    if (kCentralSize > directory_end - position) return Damaged("the zip directory is cut");
    if (Load<uint32_t>(bytes, position) != kCentralSignature) return Damaged("the zip directory is damaged");
    const uint16_t flags = Load<uint16_t>(bytes, position + 8), method = Load<uint16_t>(bytes, position + 10);
    const uint64_t name_size = Load<uint16_t>(bytes, position + 28), extra_size = Load<uint16_t>(bytes, position + 30),
                   comment_size = Load<uint16_t>(bytes, position + 32);
    if (name_size + extra_size + comment_size > directory_end - position - kCentralSize) {
      return Damaged("the zip directory is cut");
    }
    ZipEntry entry;
    entry.name = std::string(bytes.substr(position + kCentralSize, name_size));
    const std::string where = absl::StrCat("entry \"", absl::CHexEscape(entry.name.substr(0, 200)), "\"");
    entry.crc = Load<uint32_t>(bytes, position + 16);
    entry.compressed = method != 0;
    uint64_t compressed = Load<uint32_t>(bytes, position + 20);
    entry.size = Load<uint32_t>(bytes, position + 24);
    entry.header_offset = Load<uint32_t>(bytes, position + 42);
    if (entry.name.empty()) return Refused("an entry without a name");
    if (flags & kFlagEncrypted) return Refused(absl::StrCat(where, " is encrypted"));
    TEC_ASSIGN_OR_RETURN(const std::vector<uint64_t> wide,
                         Zip64Values(bytes.substr(position + kCentralSize + name_size, extra_size)));
    size_t next = 0;
    TEC_RETURN_IF_ERROR(Annotate(Widen(entry.size, wide, next), where));
    TEC_RETURN_IF_ERROR(Annotate(Widen(compressed, wide, next), where));
    TEC_RETURN_IF_ERROR(Annotate(Widen(entry.header_offset, wide, next), where));
    if (entry.compressed) {
      // CheckContent() refuses it; until then it is a name, which tells what kind of archive this is.
      entry.size = 0;
      ranges.push_back({entry.header_offset, entry.header_offset});
    } else {
      if (compressed != entry.size || Load<uint16_t>(bytes, position + 34) != 0) {
        return Damaged(absl::StrCat(where, " has contradicting sizes"));
      }
      absl::StatusOr<uint64_t> end = CheckLocal(bytes, directory.begin, flags, &entry);
      if (!end.ok()) return Annotate(end.status(), where);
      ranges.push_back({entry.header_offset, *end});
    }
    if (!reader.index_.emplace(entry.name, reader.entries_.size()).second) {
      return Refused(absl::StrCat(where, " occurs twice"));
    }
    reader.entries_.push_back(std::move(entry));
    position += kCentralSize + name_size + extra_size + comment_size;
  }
  if (position != directory_end) return Damaged("the zip directory holds more than its entries");
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  if (!ranges.empty() && ranges[0].begin != 0) return Refused("bytes stand before the first zip entry");
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].begin < ranges[i - 1].end) return Refused("zip entries overlap");
  }
  return reader;
}

const ZipEntry* ZipReader::Find(absl::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

absl::Status ZipReader::CheckContent() const {
  for (const ZipEntry& entry : entries_) {
    if (entry.compressed) {
      return Refused(
          absl::StrCat("entry \"", absl::CHexEscape(entry.name.substr(0, 200)),
                       "\" is compressed, which torch.save never does: load and save the file with PyTorch"));
    }
    if (file_->Crc32(entry.data) != entry.crc) {
      return Damaged(absl::StrCat("the bytes of entry \"", absl::CHexEscape(entry.name.substr(0, 200)),
                                  "\" do not have its CRC: the file is damaged (or was saved with "
                                  "torch.serialization.set_crc32_options(False))"));
    }
  }
  if (entries_.empty() || !absl::EndsWith(entries_.back().name, absl::StrCat("/", kZipChecksumName))) {
    return absl::OkStatus();
  }
  // Written by ZipWriter: nothing in the file is free.
  const absl::string_view bytes = file_->bytes();
  uLong crc = crc32(0, nullptr, 0);
  uint64_t position = 0;
  const auto add = [&](uint64_t end) {
    crc = crc32(crc, reinterpret_cast<const Bytef*>(bytes.data() + position), end - position);
    position = end;
  };
  for (size_t i = 0; i + 1 < entries_.size(); ++i) {
    const ZipEntry& entry = entries_[i];
    const uint64_t begin = entry.data.data() - bytes.data();
    if (begin < position) return Damaged("the entries are not in the order they were written in");
    add(begin);
    crc = crc32_combine(crc, entry.crc, entry.size);
    position = begin + entry.size;
  }
  if (entries_.back().header_offset < position) return Damaged("the checksum is not behind what it covers");
  add(entries_.back().header_offset);
  const std::string& name = entries_.back().name;
  const absl::string_view root = absl::string_view(name).substr(0, name.size() - kZipChecksumName.size() - 1);
  const std::vector<ZipEntry> before(entries_.begin(), entries_.end() - 1);
  if (Tail(before, root, position, crc, 0xFFFFFFFF) != bytes.substr(position)) {
    return Damaged("the file does not have its checksum: it is damaged");
  }
  return absl::OkStatus();
}

ZipWriter::ZipWriter(Sink sink, std::string root, uint64_t zip64_from)
    : sink_(std::move(sink)), root_(std::move(root)), zip64_from_(zip64_from) {}

ZipWriter::ZipWriter(std::string* out, std::string root, uint64_t zip64_from)
    : ZipWriter(
          [out](absl::string_view bytes) {
            out->append(bytes.data(), bytes.size());
            return absl::OkStatus();
          },
          std::move(root), zip64_from) {}

absl::Status ZipWriter::Write(absl::string_view bytes) {
  offset_ += bytes.size();
  return sink_(bytes);
}

absl::Status ZipWriter::Add(absl::string_view name, absl::string_view data) {
  ZipEntry entry;
  entry.name = absl::StrCat(root_, "/", name);
  entry.header_offset = offset_;
  entry.size = data.size();
  constexpr size_t kPiece = size_t{1} << 30;  // zlib counts in 32 bits.
  uLong crc = crc32(0, nullptr, 0);
  for (size_t begin = 0; begin < data.size(); begin += kPiece) {
    const absl::string_view piece = data.substr(begin, kPiece);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(piece.data()), piece.size());
  }
  entry.crc = crc;
  const std::string header = LocalHeader(entry, zip64_from_);
  crc_ = crc32(crc_, reinterpret_cast<const Bytef*>(header.data()), header.size());
  crc_ = crc32_combine(crc_, crc, data.size());
  TEC_RETURN_IF_ERROR(Write(header));
  TEC_RETURN_IF_ERROR(Write(data));
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status ZipWriter::Finish() { return Write(Tail(entries_, root_, offset_, crc_, zip64_from_)); }

size_t ZipWriter::OverheadBound(absl::string_view root, absl::string_view name) {
  return kLocalSize + kCentralSize + 2 * (root.size() + 1 + name.size()) + kAlignment + 64;
}

}  // namespace tec
