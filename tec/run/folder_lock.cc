#include "tec/run/folder_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Of our own making; anything else in such a file is not told at length.
constexpr size_t kMostText = 400;

std::string HolderText() {
  char host[256] = "unknown";
  gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("process %d on host %s, since %s", getpid(), host,
                         absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::Now(), absl::UTCTimeZone()));
}

std::string TextOf(int fd) {
  std::string text(kMostText, '\0');
  const ssize_t size = pread(fd, text.data(), text.size(), 0);
  text.resize(size > 0 ? size : 0);
  return Printable(text);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FolderLock>> FolderLock::Take(const std::string& folder) {
  TEC_RETURN_IF_ERROR(MakeDirectories(folder));
  return TakePath(absl::StrCat(folder, "/", kName), folder, "--output_dir");
}

absl::StatusOr<std::unique_ptr<FolderLock>> FolderLock::TakeForFile(const std::string& path, const std::string& flag) {
  return TakePath(path + kSuffix, path, flag);
}

absl::StatusOr<std::unique_ptr<FolderLock>> FolderLock::TakePath(const std::string& path, const std::string& what,
                                                                 const std::string& flag) {
  // The holder before may take its file away between our opening of it and our lock.
  for (int tries = 0; tries < 100; ++tries) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (fd < 0) return ErrnoToStatus(errno, absl::StrCat("cannot make ", path, ", the lock of"), what);
    std::unique_ptr<FolderLock> lock(new FolderLock(path, -1));
    if (file_operations::TryToLock(fd)) {
      struct stat locked, named;
      if (fstat(fd, &locked) != 0 || lstat(path.c_str(), &named) != 0 || named.st_ino != locked.st_ino ||
          named.st_dev != locked.st_dev) {
        close(fd);
        continue;
      }
      lock->fd_ = fd;
      if (const std::string before = TextOf(fd); !before.empty()) {
        TEC_LOG(INFO) << what << " was left by a run that did not end by itself: " << before;
      }
    } else if (errno == EWOULDBLOCK) {
      std::string holder = TextOf(fd);
      close(fd);
      if (holder.empty()) holder = "it does not say which";
      return absl::FailedPreconditionError(absl::StrCat("another run writes into ", what, ": ", holder,
                                                        ". Wait until it has ended, end it, or choose another ", flag));
    } else {
      TEC_LOG(WARNING) << "the file system of " << what << " has no locks: nothing keeps a second run out of it";
      lock->fd_ = fd;
    }
    const std::string text = HolderText();
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
      // The lock is what counts; a full disk is told of where it matters.
      TEC_LOG(WARNING) << ErrnoToStatus(errno, "cannot write", path).message();
    }
    return lock;
  }
  return absl::UnavailableError(absl::StrCat(path, " is taken and given back all the time by others"));
}

FolderLock::~FolderLock() {
  if (fd_ < 0) return;
  unlink(path_.c_str());  // Still locked: who has opened it meanwhile looks again.
  close(fd_);
}

}  // namespace tec
