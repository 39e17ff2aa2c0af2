#include "data/dataset/read_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/base/system_error.h"

namespace tec {
namespace {

absl::Status CheckChecksum(const std::string& content, uint32_t checksum) {
  if (libdeflate_crc32(0, content.data(), content.size()) == checksum) return absl::OkStatus();
  return absl::DataLossError("its bytes do not have the checksum that the zip keeps of them: they are damaged");
}

// Whether the folder is gone, or empty, as a mount point is whose file system is away.
bool FolderIsAway(const std::string& folder) {
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) return errno == ENOENT || errno == ENOTDIR;
  bool empty = true;
  while (const dirent* entry = readdir(entries)) {
    const absl::string_view name = entry->d_name;
    empty = empty && (name == "." || name == "..");
  }
  closedir(entries);
  return empty;
}

}  // namespace

OpenedFile::~OpenedFile() {
  if (fd >= 0) close(fd);
}

// O_NONBLOCK: a FIFO must not hold us up before fstat unmasks it.
int OpenForReading(const std::string& path) {
  int fd;
  do {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

absl::Status CheckEncodedSize(uint64_t bytes) {
  if (bytes <= kMaxEncodedBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the encoded image has ", bytes, " bytes, more than ", kMaxEncodedBytes));
}

absl::Status ReadRange(int fd, const std::string& path, uint64_t begin, uint64_t count, char* out) {
  while (count > 0) {
    const ssize_t got = pread(fd, out, count, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoToStatus(errno, "read", path);
    if (got == 0) {
      absl::Status shorter = absl::DataLossError(absl::StrCat(path, " has become shorter"));
      shorter.SetPayload(kErrnoPayload, absl::Cord(absl::StrCat(ESTALE)));
      return shorter;
    }
    out += got;
    begin += got;
    count -= got;
  }
  return absl::OkStatus();
}

bool IsGone(const absl::Status& status) { return ErrnoOf(status) == ENOENT || ErrnoOf(status) == ENOTDIR; }

absl::Status ReadInto(const std::string& path, std::string* bytes) {
  const OpenedFile file(OpenForReading(path));
  if (file.fd < 0) return ErrnoToStatus(errno, "open", path);
  struct stat info;
  if (fstat(file.fd, &info) != 0) return ErrnoToStatus(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  TEC_RETURN_IF_ERROR(CheckEncodedSize(info.st_size));
  bytes->resize(info.st_size);
  size_t done = 0;
  while (done < bytes->size()) {
    const ssize_t count = read(file.fd, bytes->data() + done, bytes->size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoToStatus(errno, "read", path);
    if (count == 0) break;
    done += count;
  }
  bytes->resize(done);  // Shorter if the file was cut meanwhile; the decoder will say so.
  return absl::OkStatus();
}

absl::Status ReadOfFolder(const std::string& path, std::string* bytes) {
  const absl::Status status = ReadInto(path, bytes);
  if (!IsGone(status) || !FolderIsAway(path.substr(0, path.rfind('/')))) return status;
  return ErrnoToStatus(ESTALE, "its folder is not there any more: cannot open", path);
}

absl::Status ReadZipEntry(int fd, const std::string& path, const ZipEntry& entry, std::string* bytes) {
  const auto [begin, stored, size, checksum, deflated] = entry;
  constexpr size_t kLocalHeader = 30, kMostAdded = size_t{64} << 10;
  char header[kLocalHeader];
  TEC_RETURN_IF_ERROR(ReadRange(fd, path, begin, sizeof(header), header));
  if (std::memcmp(header, "PK\3\4", 4) != 0) {
    return absl::DataLossError(absl::StrCat("no entry of the zip at byte ", begin));
  }
  uint16_t lengths[2];  // Of the name and of the extra fields, which need not be those of the directory.
  std::memcpy(lengths, header + 26, sizeof(lengths));
  const uint64_t data = begin + kLocalHeader + lengths[0] + lengths[1];
  // The directory knows of the lengths nothing; without them it lies in the file.
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoToStatus(errno, "stat", path);
  const auto file_size = static_cast<uint64_t>(info.st_size);
  if (data + stored > file_size && begin + kLocalHeader + stored <= file_size) {
    return absl::DataLossError(absl::StrCat("the entry of the zip at byte ", begin, " does not lie in the file"));
  }
  if (!deflated) {
    bytes->resize(stored);
    TEC_RETURN_IF_ERROR(ReadRange(fd, path, data, stored, bytes->data()));
    return CheckChecksum(*bytes, checksum);
  }
  // Deflating never adds so much; what an entry has beyond is not needed, and not read.
  const uint64_t needed = std::min(stored, 2 * size + kMostAdded);
  TEC_RETURN_IF_ERROR(CheckEncodedSize(needed));
  // One a thread: they are large.
  thread_local std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> decompressor(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (decompressor == nullptr) throw std::bad_alloc();
  std::string compressed(needed, '\0');
  TEC_RETURN_IF_ERROR(ReadRange(fd, path, data, needed, compressed.data()));
  bytes->resize(size);
  if (libdeflate_deflate_decompress(decompressor.get(), compressed.data(), compressed.size(), bytes->data(), size,
                                    nullptr) != LIBDEFLATE_SUCCESS) {
    return absl::DataLossError("its entry in the zip cannot be decompressed");
  }
  return CheckChecksum(*bytes, checksum);
}

}  // namespace tec
