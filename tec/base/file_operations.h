// The system calls by which files are written and checked, in one place where a test can make each of them fail.

#ifndef TEC_BASE_FILE_OPERATIONS_H_
#define TEC_BASE_FILE_OPERATIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>

namespace tec::file_operations {

enum class Operation { kOpen, kRead, kWrite, kSync, kClose, kRename, kLink, kUnlink, kLock };

// As the system call of that name: -1 and errno on failure. Opening, syncing and closing go on after a signal (EINTR).
// SyncFolder opens, fsyncs and closes a folder.
// Create empties the file and takes the lock that TryToLock describes; EBUSY if another writer keeps it.
int Create(const std::string& path);
int OpenToRead(const std::string& path);
ssize_t Read(int fd, char* bytes, size_t count);
ssize_t Write(int fd, const char* bytes, size_t count);
int Sync(int fd);
int Close(int fd);
int Rename(const std::string& from, const std::string& to);
int Link(const std::string& from, const std::string& to);
int Unlink(const std::string& path);
int SyncFolder(const std::string& path);

// A file that is being written is locked (flock) until its descriptor and the duplicates of it are closed, by the death
// of the process too, so that nobody takes it for a leftover, whatever the process's number and machine. Whether the
// lock is ours now; false also where the file system has no locks.
bool TryToLock(int fd);

// For tests: asked before each call; another result than 0 is the errno with which the call fails without being made.
// A hook may end the process instead. nullptr: none. Set while no other thread works on files; then called from all.
constexpr int kShortWrite = -1;  // A result for kWrite: half the bytes, rounded up, are written.
using FaultHook = std::function<int(Operation)>;
void SetFaultHook(FaultHook hook);

// For tests: told the path of each file and folder whose Sync() or SyncFolder() has succeeded, when it has. As above.
using SyncHook = std::function<void(const std::string& path)>;
void SetSyncHook(SyncHook hook);

}  // namespace tec::file_operations

#endif  // TEC_BASE_FILE_OPERATIONS_H_
