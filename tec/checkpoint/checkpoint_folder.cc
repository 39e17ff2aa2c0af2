// CheckpointFolder of training_state.h: files that are whole whenever the process or the machine stops.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

// The lock by which RemoveLeftovers knows that a file is in use.
class FileLock {
 public:
  explicit FileLock(const std::string& path) : fd_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (fd_ >= 0) file_operations::TryToLock(fd_);
  }
  ~FileLock() {
    if (fd_ >= 0) close(fd_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  const int fd_;
};

// Syncs what a rename or link did to `directory`.
absl::Status SyncDirectory(const std::string& directory) {
  if (file_operations::SyncFolder(directory) != 0) return ErrnoToStatus(errno, "cannot write to disk", directory);
  return absl::OkStatus();
}

// Whether link() failed for the file system has none, or no more.
bool MeansNoLinks(int error) { return error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK; }

bool IsDamage(const absl::Status& status) {
  return status.code() == absl::StatusCode::kDataLoss || status.code() == absl::StatusCode::kInvalidArgument;
}

}  // namespace

absl::StatusOr<CheckpointFolder> CheckpointFolder::Open(const std::string& directory) {
  TEC_RETURN_IF_ERROR(MakeDirectories(directory));
  TEC_ASSIGN_OR_RETURN(const int removed, RemoveLeftovers(directory));
  if (removed > 0) TEC_LOG(INFO) << "removed " << removed << " unfinished files of killed saves from " << directory;
  return CheckpointFolder(directory);
}

std::string CheckpointFolder::PathOf(const std::string& name) const { return absl::StrCat(directory_, "/", name); }

std::string CheckpointFolder::NumberedName(int64_t epoch) { return absl::StrCat("checkpoint-", epoch, ".pth"); }

std::optional<int64_t> CheckpointFolder::EpochOfName(absl::string_view name) {
  absl::string_view number = name;
  int64_t epoch;
  if (absl::ConsumePrefix(&number, "checkpoint-") && absl::ConsumeSuffix(&number, ".pth") &&
      absl::SimpleAtoi(number, &epoch) && NumberedName(epoch) == name) {
    return epoch;
  }
  return std::nullopt;
}

absl::Status CheckpointFolder::Place(const TrainingState& state, const std::string& path,
                                     const std::string& twin) const {
  if (twin.empty()) return SaveTrainingState(path, state);
  const std::string from = PathOf(twin), link = absl::StrCat(path, ".", getpid(), AtomicFileWriter::kSuffix);
  file_operations::Unlink(link);
  const FileLock lock(from);  // Of the file, and so of the name that it has in between.
  if (file_operations::Link(from, link) != 0) {
    const int error = errno;
    if (MeansNoLinks(error)) return SaveTrainingState(path, state);
    return ErrnoToStatus(error, absl::StrCat("cannot link ", from, " to"), link);
  }
  if (file_operations::Rename(link, path) != 0) {
    const int error = errno;
    file_operations::Unlink(link);
    return ErrnoToStatus(error, absl::StrCat("cannot rename ", link, " to"), path);
  }
  return SyncDirectory(directory_);
}

absl::StatusOr<std::vector<int64_t>> CheckpointFolder::Epochs() const {
  std::vector<int64_t> epochs;
  DIR* entries = opendir(directory_.c_str());
  if (entries == nullptr) return ErrnoToStatus(errno, "cannot list", directory_);
  while (const dirent* entry = readdir(entries)) {
    if (const std::optional<int64_t> epoch = EpochOfName(entry->d_name)) epochs.push_back(*epoch);
  }
  closedir(entries);
  std::sort(epochs.rbegin(), epochs.rend());
  return epochs;
}

absl::Status CheckpointFolder::KeepLast(int64_t count) const {
  if (count <= 0) return absl::OkStatus();
  TEC_ASSIGN_OR_RETURN(const std::vector<int64_t> epochs, Epochs());
  for (size_t i = static_cast<size_t>(count); i < epochs.size(); ++i) {
    const std::string path = NumberedPath(epochs[i]);
    if (file_operations::Unlink(path) != 0 && errno != ENOENT) return ErrnoToStatus(errno, "cannot remove", path);
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::SaveThis(const TrainingState& state, const std::string& twin) const {
  const std::string path = PathOf(kThis), previous = PathOf(kPrevious);
  if (!this_is_ours_) {
    const absl::Status found = LoadTrainingState(path).status();
    if (IsDamage(found)) {
      const std::string aside = PathOf(kDamaged);
      if (file_operations::Rename(path, aside) != 0) {
        return ErrnoToStatus(errno, absl::StrCat("cannot rename ", path, ", which is damaged, to"), aside);
      }
      TEC_LOG(WARNING) << found.message() << "; it is " << aside << " from here on";
    }
  }
  // The present file gets a second name first; the new one takes its place; only then does the second name replace the
  // generation before. So two whole generations are there at every moment. The name is one that RemoveLeftovers knows.
  const std::string second = absl::StrCat(previous, ".", getpid(), AtomicFileWriter::kSuffix);
  file_operations::Unlink(second);
  const FileLock lock(path);  // Of the file, and so of its second name.
  bool linked = file_operations::Link(path, second) == 0;
  if (!linked && errno != ENOENT) {
    const int error = errno;
    if (!MeansNoLinks(error)) {
      return ErrnoToStatus(error, "cannot keep the previous checkpoint as", second);
    }
    // A file system without links: the present file becomes the previous generation before the new one is written, the
    // only one then that is whole.
    if (file_operations::Rename(path, previous) != 0 && errno != ENOENT) {
      return ErrnoToStatus(errno, absl::StrCat("cannot rename ", path, " to"), previous);
    }
  }
  const absl::Status saved = Place(state, path, twin);
  if (!saved.ok()) {
    if (linked) file_operations::Unlink(second);
    if (!linked && access(path.c_str(), F_OK) != 0) file_operations::Rename(previous, path);
    return saved;
  }
  this_is_ours_ = true;
  if (!linked) return absl::OkStatus();
  if (file_operations::Rename(second, previous) != 0) {
    const int error = errno;
    file_operations::Unlink(second);
    return ErrnoToStatus(error, absl::StrCat("cannot rename ", second, " to"), previous);
  }
  return SyncDirectory(directory_);
}

absl::Status CheckpointFolder::SaveNumbered(const TrainingState& state, int64_t epoch) const {
  return SaveTrainingState(NumberedPath(epoch), state);
}

absl::Status CheckpointFolder::Save(const TrainingState& state, const std::string& name,
                                    const std::string& twin) const {
  return name == kThis ? SaveThis(state, twin) : Place(state, PathOf(name), twin);
}

absl::StatusOr<LoadedState> CheckpointFolder::LoadNewest() const {
  TEC_ASSIGN_OR_RETURN(const std::vector<int64_t> epochs, Epochs());
  std::vector<std::string> candidates = {PathOf(kThis), PathOf(kPrevious)};
  for (int64_t epoch : epochs) candidates.push_back(NumberedPath(epoch));

  LoadedState loaded;
  for (const std::string& path : candidates) {
    absl::StatusOr<TrainingState> state = LoadTrainingState(path);
    if (state.ok() && IsEncoderOnly(*state)) continue;
    if (state.ok()) {
      for (const std::string& skipped : loaded.skipped) {
        TEC_LOG(WARNING) << "cannot resume from " << skipped << "; falling back to " << path;
      }
      loaded.state = *std::move(state);
      loaded.path = path;
      return loaded;
    }
    if (absl::IsNotFound(state.status())) continue;
    if (!IsDamage(state.status())) return state.status();
    loaded.skipped.push_back(std::string(state.status().message()));
  }
  if (loaded.skipped.empty()) return absl::NotFoundError(absl::StrCat("no checkpoint in ", directory_));
  return absl::DataLossError(
      absl::StrCat("no checkpoint in ", directory_,
                   " can be read (move them away to start anew): ", absl::StrJoin(loaded.skipped, "; ")));
}

}  // namespace tec
