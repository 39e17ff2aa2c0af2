// A file in memory, mapped: nothing is read before it is touched, and the system may drop it again.

#ifndef TEC_CHECKPOINT_MAPPED_FILE_H_
#define TEC_CHECKPOINT_MAPPED_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

class MappedFile {
 public:
  // Errors name the path: NotFound, PermissionDenied, InvalidArgument for a folder. An empty file is no error here.
  // Replacing the file by a rename, as AtomicFileWriter does, leaves this mapping as it was; cutting it short in place
  // while it is mapped does not (no program of ours does that).
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  // For tests and fuzzers: the same interface over bytes in memory.
  static std::shared_ptr<const MappedFile> FromBytes(std::string bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  absl::string_view bytes() const { return bytes_; }
  // Whether bytes() are pages of a file (TensorView::mapped).
  bool mapped() const { return mapped_; }
  // CRC-32 of a part of bytes(), read in pieces and released again, so that a check of a large file stays small in
  // memory.
  uint32_t Crc32(absl::string_view part) const;

 private:
  MappedFile() = default;
  std::string copy_;
  absl::string_view bytes_;
  bool mapped_ = false;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_MAPPED_FILE_H_
