// For tests: what a power failure leaves of a folder, by a model of a disk that keeps what was synced and nothing else.
//
//   PowerFailure disk(folder);
//   ... write, by way of tec/base/file_operations.h ...
//   ASSERT_TRUE(disk.LeaveIn(copy, PowerFailure::Names::kSynced).ok());

#ifndef TEC_BASE_POWER_FAILURE_H_
#define TEC_BASE_POWER_FAILURE_H_

#include <sys/types.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tec {

// Watches what is synced while it lives; one at a time. What lies in the folder at its beginning is on the disk.
class PowerFailure {
 public:
  // `folder`: an absolute path without links.
  explicit PowerFailure(std::string folder);
  ~PowerFailure();
  PowerFailure(const PowerFailure&) = delete;
  PowerFailure& operator=(const PowerFailure&) = delete;

  // File systems keep changes of names in the order in which they were made, but need not keep them back until a file's
  // bytes are there.
  enum class Names {
    kSynced,  // A folder has the names that it had when it was synced last.
    kNewest,  // Every new, changed or removed name has reached the disk.
  };
  // Makes the folder `to`, which is emptied first, what would be there after a failure now. A file has the bytes that
  // it had when it was synced last; one that never was is empty.
  absl::Status LeaveIn(const std::string& to, Names names);

 private:
  struct Entry {
    ino_t inode = 0;
    bool is_folder = false;
  };
  using Entries = std::map<std::string, Entry>;

  void Synced(const std::string& path);
  // Both as they are now.
  void KeepFile(const std::string& path);
  Entries KeepFolder(const std::string& path);
  absl::Status Leave(const std::string& from, const std::string& to, Names names);

  const std::string folder_;
  std::mutex mutex_;
  std::map<ino_t, std::string> bytes_;      // Of files, when they were synced.
  std::map<std::string, Entries> entries_;  // Of folders, when they were synced.
  std::vector<int> open_;                   // Keep the files' inodes from being given to others.
};

}  // namespace tec

#endif  // TEC_BASE_POWER_FAILURE_H_
