#include "tec/checkpoint/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tec/base/file.h"

namespace tec {

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  // A FIFO without a writer is not waited for.
  int fd;
  do {
    fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoToStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(fd, &info) != 0) {
    const int error = errno;
    close(fd);
    return ErrnoToStatus(error, "cannot read", path);
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  if (info.st_size > 0) {
    void* address = mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return ErrnoToStatus(error, "cannot map", path);
    }
    file->bytes_ = absl::string_view(static_cast<const char*>(address), info.st_size);
    file->mapped_ = true;
  }
  close(fd);
  return std::shared_ptr<const MappedFile>(std::move(file));
}

std::shared_ptr<const MappedFile> MappedFile::FromBytes(std::string bytes) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->copy_ = std::move(bytes);
  file->bytes_ = file->copy_;
  return file;
}

MappedFile::~MappedFile() {
  if (mapped_) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

uint32_t MappedFile::Crc32(absl::string_view part) const {
  constexpr size_t kPiece = size_t{8} << 20;
  uLong crc = crc32(0, nullptr, 0);
  for (size_t begin = 0; begin < part.size(); begin += kPiece) {
    TensorView piece;
    piece.bytes = part.substr(begin, kPiece);
    piece.mapped = mapped_;
    crc = crc32(crc, reinterpret_cast<const Bytef*>(piece.bytes.data()), piece.bytes.size());
    // Small files stay: their pages cost nothing and will be wanted at once. A large one of many small parts does not.
    if (bytes_.size() > kPiece) ReleasePages(piece);
  }
  return crc;
}

}  // namespace tec
