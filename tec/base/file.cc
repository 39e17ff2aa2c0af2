#include "tec/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"
#include "tec/base/system_error.h"

namespace tec {
namespace {

// Of what a sparse file says about its size.
constexpr int64_t kMostReserved = int64_t{64} << 20;
constexpr int64_t kMostRead = int64_t{8} << 30;

absl::Status CheckKind(const std::string& path, const struct stat& info) {
  if (S_ISREG(info.st_mode)) {
    if (info.st_size <= kMostRead) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrFormat("%s has %.0f GiB, more than any file that is read as a whole",
                                                      path, info.st_size / 1073741824.0));
  }
  const absl::string_view kind = S_ISDIR(info.st_mode)    ? "a folder"
                                 : S_ISFIFO(info.st_mode) ? "a FIFO"
                                 : S_ISSOCK(info.st_mode) ? "a socket"
                                                          : "a device";
  return absl::InvalidArgumentError(absl::StrCat(path, " is ", kind, ", not a regular file"));
}

// For reading: no size but 0 is "0.0".
std::string Size(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, bytes == 1 ? " byte" : " bytes");
  if (bytes < 1048576) return absl::StrFormat("%.1f KiB", bytes / 1024.0);
  return absl::StrFormat("%.1f MiB", bytes / 1048576.0);
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::Status ErrnoToStatus(int error_number, absl::string_view operation, const std::string& path) {
  absl::Status status(absl::ErrnoToStatusCode(error_number),
                      absl::StrCat(operation, " ", path, ": ", strerror(error_number)));
  status.SetPayload(kErrnoPayload, absl::Cord(absl::StrCat(error_number)));
  return status;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  // A FIFO without a writer would be waited for.
  int fd;
  do {
    fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoToStatus(errno, "cannot open", path);
  std::string content;
  struct stat info;
  if (fstat(fd, &info) != 0) {
    const int error = errno;
    close(fd);
    return ErrnoToStatus(error, "cannot read", path);
  }
  if (const absl::Status status = CheckKind(path, info); !status.ok()) {
    close(fd);
    return status;
  }
  content.reserve(std::min<int64_t>(info.st_size, kMostReserved));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      close(fd);
      return ErrnoToStatus(error, "cannot read", path);
    }
    if (count == 0) break;
    content.append(buffer, count);
  }
  close(fd);
  return content;
}

absl::Status CheckReadable(const std::string& path) {
  const auto error_of = [&path](absl::string_view operation) {
    if (errno != EIO) return ErrnoToStatus(errno, operation, path);
    return absl::DataLossError(absl::StrCat(operation, " ", path, ": ", strerror(EIO)));
  };
  const int fd = file_operations::OpenToRead(path);
  if (fd < 0) return error_of("cannot open");
  absl::Status status;
  struct stat info;
  if (fstat(fd, &info) != 0) {
    status = error_of("cannot read");
  } else if (!S_ISREG(info.st_mode)) {
    status = CheckKind(path, info);
  }
  std::vector<char> buffer(size_t{1} << 20);
  while (status.ok()) {
    // Holes of a sparse file are on no device.
    const off_t here = lseek(fd, 0, SEEK_CUR);
    if (lseek(fd, here, SEEK_DATA) < 0 && errno == ENXIO) break;
    const ssize_t count = file_operations::Read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) status = error_of("cannot read");
    if (count <= 0) break;
  }
  close(fd);
  return status;
}

absl::Status WriteFile(const std::string& path, absl::string_view content) {
  TEC_ASSIGN_OR_RETURN(auto writer, AtomicFileWriter::Open(path, content.size()));
  TEC_RETURN_IF_ERROR(writer->Write(content));
  return writer->Commit();
}

absl::Status MakeDirectories(const std::string& path) {
  std::string prefix;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    absl::StrAppend(&prefix, part, "/");
    if (part.empty()) continue;
    if (mkdir(prefix.c_str(), 0777) == 0) {
      // A power failure would take a folder that its parent does not know for sure, and all that is in it. A parent
      // that may not be read is let pass.
      file_operations::SyncFolder(DirectoryOf(prefix.substr(0, prefix.size() - 1)));
    } else if (errno != EEXIST) {
      return ErrnoToStatus(errno, "cannot make folder", prefix);
    }
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoToStatus(errno, "cannot open folder", path);
  if (!S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is a file, not a folder"));
  return absl::OkStatus();
}

AtomicFileWriter::AtomicFileWriter(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd), lock_(fcntl(fd, F_DUPFD_CLOEXEC, 0)) {}

absl::StatusOr<std::unique_ptr<AtomicFileWriter>> AtomicFileWriter::Open(const std::string& path, uint64_t size) {
  const std::string directory = DirectoryOf(path);
  // A folder that cannot be listed may still be one to write into.
  RemoveLeftovers(directory, path.substr(path.rfind('/') + 1)).IgnoreError();
  struct statvfs info;
  if (size > 0 && statvfs(directory.c_str(), &info) == 0) {
    const uint64_t free = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
    if (free < size) {
      return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path, ": it takes up to ", Size(size), " and ",
                                                       directory, " has ", Size(free), " free"));
    }
  }
  const std::string temporary = absl::StrCat(path, ".", getpid(), kSuffix);
  const int fd = file_operations::Create(temporary);
  if (fd < 0) return ErrnoToStatus(errno, "cannot create", temporary);
  return std::unique_ptr<AtomicFileWriter>(new AtomicFileWriter(path, temporary, fd));
}

AtomicFileWriter::~AtomicFileWriter() {
  if (fd_ >= 0) {
    file_operations::Close(fd_);
    file_operations::Unlink(temporary_);
  }
  if (lock_ >= 0) close(lock_);
}

absl::Status AtomicFileWriter::Write(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = file_operations::Write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoToStatus(errno, "cannot write", temporary_);
    bytes.remove_prefix(count);
    size_ += count;
  }
  return absl::OkStatus();
}

absl::Status AtomicFileWriter::Commit() {
  if (file_operations::Sync(fd_) != 0) return ErrnoToStatus(errno, "cannot write to disk", temporary_);
  // Some file systems report a full disk only here.
  const int closed = file_operations::Close(fd_);
  fd_ = -1;
  absl::Status status;
  if (closed != 0) {
    status = ErrnoToStatus(errno, "cannot close", temporary_);
  } else if (file_operations::Rename(temporary_, path_) != 0) {
    status = ErrnoToStatus(errno, absl::StrCat("cannot rename ", temporary_, " to"), path_);
  }
  if (!status.ok()) {
    file_operations::Unlink(temporary_);
    return status;
  }
  // Without this the rename itself may be lost in a power failure.
  const std::string directory = DirectoryOf(path_);
  if (file_operations::SyncFolder(directory) != 0) return ErrnoToStatus(errno, "cannot write to disk", directory);
  return absl::OkStatus();
}

absl::StatusOr<int> RemoveLeftovers(const std::string& directory, const std::string& of) {
  DIR* entries = opendir(directory.c_str());
  if (entries == nullptr) return ErrnoToStatus(errno, "cannot list", directory);
  int removed = 0;
  while (const dirent* entry = readdir(entries)) {
    const absl::string_view name = entry->d_name;
    if (!absl::EndsWith(name, AtomicFileWriter::kSuffix)) continue;
    const std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
    int pid;
    if (parts.size() < 3 || !absl::SimpleAtoi(parts[parts.size() - 2], &pid) || pid <= 0) continue;
    if (!of.empty() && name != absl::StrCat(of, ".", pid, AtomicFileWriter::kSuffix)) continue;
    const std::string path = absl::StrCat(directory, "/", name);
    const int fd = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    // The name may have gone to another file since it was opened.
    struct stat locked, named;
    if (file_operations::TryToLock(fd) && fstat(fd, &locked) == 0 && S_ISREG(locked.st_mode) &&
        lstat(path.c_str(), &named) == 0 && named.st_ino == locked.st_ino && named.st_dev == locked.st_dev &&
        file_operations::Unlink(path) == 0) {
      ++removed;
    }
    close(fd);
  }
  closedir(entries);
  return removed;
}

}  // namespace tec
