// Files that are written whole or not at all.

#ifndef TEC_BASE_FILE_H_
#define TEC_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// The whole of a file. NotFound or PermissionDenied name the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Reads the whole file and keeps nothing. DataLoss, naming the path, for an error of the device (EIO), of which a file
// that is mapped into memory tells by a signal alone; errors of opening as ReadFile's.
absl::Status CheckReadable(const std::string& path);

// Replaces `path` by `content`, as AtomicFileWriter does.
absl::Status WriteFile(const std::string& path, absl::string_view content);

// mkdir -p.
absl::Status MakeDirectories(const std::string& path);

// The status for a failed system call: the code that fits errno, "<operation> <path>: <strerror>".
absl::Status ErrnoToStatus(int error_number, absl::string_view operation, const std::string& path);

// Writes a temporary file beside `path` and puts it in the place of `path` in Commit(): write, fsync, rename, fsync of
// the folder. A reader sees the old file or the new one; after a crash at any moment, too. Without Commit() the
// temporary file is removed and `path` is untouched.
class AtomicFileWriter {
 public:
  // Removes first what killed writers of `path` left, as RemoveLeftovers does. `size`, in bytes, if it is known, is
  // what the file will take at most: ResourceExhausted, with what is needed and what is there, if the disk has less
  // free.
  static absl::StatusOr<std::unique_ptr<AtomicFileWriter>> Open(const std::string& path, uint64_t size = 0);
  ~AtomicFileWriter();
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  absl::Status Write(absl::string_view bytes);
  // Bytes written so far.
  size_t size() const { return size_; }
  absl::Status Commit();

  // What a temporary file's name ends with: "<path>.<pid>.tmp". It is locked while it is written; what a killed process
  // left under such a name is removed by RemoveLeftovers.
  static constexpr absl::string_view kSuffix = ".tmp";

 private:
  AtomicFileWriter(std::string path, std::string temporary, int fd);
  std::string path_, temporary_;
  int fd_;
  int lock_;  // Keeps the lock of fd_ from its closing to the renaming.
  size_t size_ = 0;
};

// Removes temporary files that nobody writes any more from `directory`, all or those of the file `name` there; returns
// how many. Those are the ones whose lock can be had: neither the number of the process, which another one may have by
// now, nor its machine, of several that share the folder, says anything. Where the file system has no locks, all stay.
absl::StatusOr<int> RemoveLeftovers(const std::string& directory, const std::string& name = "");

}  // namespace tec

#endif  // TEC_BASE_FILE_H_
