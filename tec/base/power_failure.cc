#include "tec/base/power_failure.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"

namespace tec {

PowerFailure::PowerFailure(std::string folder) : folder_(std::move(folder)) {
  for (const auto& [name, entry] : KeepFolder(folder_)) {
    // The rest of the tree by the same way.
    std::vector<std::string> paths = {absl::StrCat(folder_, "/", name)};
    std::vector<bool> folders = {entry.is_folder};
    while (!paths.empty()) {
      const std::string path = paths.back();
      const bool is_folder = folders.back();
      paths.pop_back();
      folders.pop_back();
      if (!is_folder) {
        KeepFile(path);
        continue;
      }
      for (const auto& [inner, below] : KeepFolder(path)) {
        paths.push_back(absl::StrCat(path, "/", inner));
        folders.push_back(below.is_folder);
      }
    }
  }
  file_operations::SetSyncHook([this](const std::string& path) { Synced(path); });
}

PowerFailure::~PowerFailure() {
  file_operations::SetSyncHook(nullptr);
  for (const int fd : open_) close(fd);
}

void PowerFailure::Synced(const std::string& path) {
  if (path != folder_ && !absl::StartsWith(path, folder_ + "/")) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return;
  if (S_ISDIR(info.st_mode)) {
    KeepFolder(path);
  } else {
    KeepFile(path);
  }
}

void PowerFailure::KeepFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  const absl::StatusOr<std::string> content = ReadFile(path);
  if (fd < 0 || fstat(fd, &info) != 0 || !content.ok()) return;
  bytes_[info.st_ino] = *content;
  open_.push_back(fd);
}

PowerFailure::Entries PowerFailure::KeepFolder(const std::string& path) {
  Entries entries;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    struct stat info;
    if (lstat(entry.path().c_str(), &info) == 0) {
      entries[entry.path().filename()] = {info.st_ino, S_ISDIR(info.st_mode)};
    }
  }
  entries_[path] = entries;
  return entries;
}

absl::Status PowerFailure::LeaveIn(const std::string& to, Names names) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::error_code error;
  std::filesystem::remove_all(to, error);
  return Leave(folder_, to, names);
}

absl::Status PowerFailure::Leave(const std::string& from, const std::string& to, Names names) {
  std::error_code error;
  std::filesystem::create_directories(to, error);
  if (error) return ErrnoToStatus(error.value(), "cannot make folder", to);
  Entries entries = entries_[from];
  if (names == Names::kNewest) {
    const Entries synced = entries;
    entries = KeepFolder(from);
    entries_[from] = synced;  // Looking is no syncing.
  }
  for (const auto& [name, entry] : entries) {
    const std::string path = absl::StrCat(to, "/", name);
    if (entry.is_folder) {
      TEC_RETURN_IF_ERROR(Leave(absl::StrCat(from, "/", name), path, names));
      continue;
    }
    std::ofstream file(path, std::ios::binary);
    const auto bytes = bytes_.find(entry.inode);
    if (bytes != bytes_.end()) file << bytes->second;
    file.close();
    if (!file) return ErrnoToStatus(errno, "cannot write", path);
  }
  return absl::OkStatus();
}

}  // namespace tec
