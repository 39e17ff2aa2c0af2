// One run an output folder: two would overwrite each other's checkpoints. And one program an output file.
//
//   TEC_ASSIGN_OR_RETURN(std::unique_ptr<FolderLock> lock, FolderLock::Take(output_dir));
//   TEC_ASSIGN_OR_RETURN(std::unique_ptr<FolderLock> lock, FolderLock::TakeForFile("predictions.csv", "--output"));

#ifndef TEC_RUN_FOLDER_LOCK_H_
#define TEC_RUN_FOLDER_LOCK_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace tec {

// Held while it lives, and not longer than its process: the lock is the system's (flock) on a file of the folder, which
// says who holds it and goes with it. What a killed process has left is known by having no lock, also where process
// numbers have been given anew or are another machine's.
class FolderLock {
 public:
  // Makes the folder where it is missing. FailedPrecondition, naming host, process and time, if another process, or
  // another lock of this one, has it. A file system without locks is said in the log, and the folder taken all the
  // same.
  static absl::StatusOr<std::unique_ptr<FolderLock>> Take(const std::string& folder);
  // The same for one file, which `flag` named, by a file <path>.lock beside it. Errors of making that one are those
  // that making `path` would give.
  static absl::StatusOr<std::unique_ptr<FolderLock>> TakeForFile(const std::string& path, const std::string& flag);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  static constexpr char kName[] = "run.lock";
  static constexpr char kSuffix[] = ".lock";

 private:
  // `what`: the folder or file that `path` is the lock of, in messages.
  static absl::StatusOr<std::unique_ptr<FolderLock>> TakePath(const std::string& path, const std::string& what,
                                                              const std::string& flag);
  FolderLock(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

}  // namespace tec

#endif  // TEC_RUN_FOLDER_LOCK_H_
