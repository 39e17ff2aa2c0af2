// The directory at the end of a zip archive, for pictures: what Python's zipfile reads, Zip64 and a program in front of
// the archive included. tec/checkpoint/zip_file.h reads checkpoints, which it wants to refuse where this one goes on.

#ifndef TEC_DATA_DATASET_ZIP_DIRECTORY_H_
#define TEC_DATA_DATASET_ZIP_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tec {

struct ZipMember {
  std::string name;       // As it is stored, but with / for \ in archives of programs that write the latter.
  uint64_t begin = 0;     // Of its local header, which lies in the archive.
  uint64_t stored = 0;    // Bytes in the archive.
  uint64_t size = 0;      // Bytes of the content. Equal to `stored` if it is not compressed.
  uint32_t checksum = 0;  // CRC-32 of the content.
  bool deflated = false;
  // Why the content cannot be read, such as "encrypted files"; empty: it can.
  std::string obstacle;
};

// Reads the directory and nothing else, entry by entry, and trusts nothing in it: DataLoss where there is none, it is
// cut, or an entry does not lie before it. InvalidArgument for an archive of several volumes.
class ZipDirectory {
 public:
  using ReadAt = std::function<absl::Status(uint64_t offset, size_t count, char* out)>;
  static absl::StatusOr<ZipDirectory> Open(ReadAt read_at, uint64_t archive_size);

  // The next file; folders are passed over. False at the end.
  absl::StatusOr<bool> Next(ZipMember* member);

 private:
  explicit ZipDirectory(ReadAt read_at) : read_at_(std::move(read_at)) {}
  // The next `count` bytes of the directory.
  absl::StatusOr<const char*> Take(size_t count);

  ReadAt read_at_;
  uint64_t position_ = 0, end_ = 0;  // Of the directory's bytes that are not in buffer_.
  uint64_t shift_ = 0;               // What lies before the archive that offsets count from.
  uint64_t begin_ = 0;               // Of the directory: all members lie before it.
  std::string buffer_;
  size_t taken_ = 0;
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_ZIP_DIRECTORY_H_
