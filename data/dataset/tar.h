// The members of a tar archive: plain (v7), ustar, GNU and PAX headers.

#ifndef TEC_DATA_DATASET_TAR_H_
#define TEC_DATA_DATASET_TAR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tec {

struct TarMember {
  std::string name;    // Relative, without "." and "..".
  uint64_t begin = 0;  // First byte of the content in the archive.
  uint64_t size = 0;   // Bytes of it; it ends within the archive.
};

// Reads headers, and no contents but those of names. Trusts nothing in them:
//
//   DataLoss         a bad checksum, a member or header that ends after the archive, a size that is negative or beyond
//                    the archive, something other than zeros after the archive's end
//   InvalidArgument  a name that is absolute, empty or has "..", a link, a device, a sparse file
//
// Members before the defect have been given out by then. An archive may lack its end marker, as other readers allow.
class TarReader {
 public:
  // Reads `count` bytes from `offset`, all of them or an error. Bytes beyond archive_size are not asked for.
  using ReadAt = std::function<absl::Status(uint64_t offset, size_t count, char* out)>;
  TarReader(ReadAt read_at, uint64_t archive_size) : read_at_(std::move(read_at)), archive_size_(archive_size) {}

  // The next regular file; false at the end.
  absl::StatusOr<bool> Next(TarMember* member);

 private:
  absl::Status ReadEnd();
  absl::StatusOr<std::string> ReadMeta(uint64_t size);

  const ReadAt read_at_;
  const uint64_t archive_size_;
  uint64_t position_ = 0;
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_TAR_H_
