#include "tec/base/file_operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace tec::file_operations {
namespace {

FaultHook& Hook() {
  static FaultHook* hook = new FaultHook;
  return *hook;
}

SyncHook& AfterSync() {
  static SyncHook* hook = new SyncHook;
  return *hook;
}

// Whether the call fails without being made.
bool Fails(Operation operation) {
  if (!Hook()) return false;
  const int error = Hook()(operation);
  if (error != 0) errno = error;
  return error != 0;
}

int Open(const std::string& path, int flags) {
  int fd;
  do {
    fd = Fails(Operation::kOpen) ? -1 : open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace

bool TryToLock(int fd) { return !Fails(Operation::kLock) && flock(fd, LOCK_EX | LOCK_NB) == 0; }

int Create(const std::string& path) {
  // RemoveLeftovers holds a lock for the moment that it takes to remove the file.
  for (int tries = 0; tries < 1000; ++tries) {
    int fd = Open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    const bool made = fd >= 0;
    if (!made) {
      if (errno != EEXIST) return -1;
      // What a killed process of this number left where the file system has no locks to know it by.
      fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
      if (fd < 0 && errno == ENOENT) continue;
      if (fd < 0) return -1;
    }
    struct stat info;
    const bool busy = !TryToLock(fd) && errno == EWOULDBLOCK;
    const bool known = fstat(fd, &info) == 0;
    if (made && !busy && known && info.st_nlink > 0) return fd;
    const bool regular = known && S_ISREG(info.st_mode);
    if (!made && !busy && regular && unlink(path.c_str()) != 0 && errno != ENOENT) {
      const int error = errno;
      close(fd);
      errno = error;
      return -1;
    }
    close(fd);
    if (!made && !regular) {
      errno = EEXIST;
      return -1;
    }
    if (made || busy) usleep(1000);
  }
  errno = EBUSY;
  return -1;
}

// A FIFO without a writer is not waited for.
int OpenToRead(const std::string& path) { return Open(path, O_RDONLY | O_NONBLOCK); }

ssize_t Read(int fd, char* bytes, size_t count) {
  if (Fails(Operation::kRead)) return -1;
  return read(fd, bytes, count);
}

ssize_t Write(int fd, const char* bytes, size_t count) {
  if (Fails(Operation::kWrite)) {
    if (errno != kShortWrite) return -1;
    count = (count + 1) / 2;
  }
  return write(fd, bytes, count);
}

int Sync(int fd) {
  int synced;
  do {
    synced = Fails(Operation::kSync) ? -1 : fsync(fd);
  } while (synced != 0 && errno == EINTR);
  if (synced == 0 && AfterSync()) {
    char path[4096];
    const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof(path));
    if (size > 0) AfterSync()(std::string(path, size));
  }
  return synced;
}

int Close(int fd) {
  // Closed in any case: a failing close() leaves no open file either.
  const bool fails = Fails(Operation::kClose);
  const int error = errno;
  const int closed = close(fd);
  if (fails) errno = error;
  // The file is closed all the same on Linux, and what a Sync() before wrote is on the disk.
  return (fails || closed != 0) && errno != EINTR ? -1 : 0;
}

int Rename(const std::string& from, const std::string& to) {
  return Fails(Operation::kRename) ? -1 : rename(from.c_str(), to.c_str());
}

int Link(const std::string& from, const std::string& to) {
  return Fails(Operation::kLink) ? -1 : link(from.c_str(), to.c_str());
}

int Unlink(const std::string& path) { return Fails(Operation::kUnlink) ? -1 : unlink(path.c_str()); }

int SyncFolder(const std::string& path) {
  const int fd = Open(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return -1;
  const int synced = Sync(fd);
  const int error = errno;
  close(fd);
  errno = error;
  return synced;
}

void SetFaultHook(FaultHook hook) { Hook() = std::move(hook); }

void SetSyncHook(SyncHook hook) { AfterSync() = std::move(hook); }

}  // namespace tec::file_operations
