// The members of a tar archive: plain (v7), ustar, GNU and PAX headers.

#ifndef TEC_DATA_DATASET_TAR_H_
#define TEC_DATA_DATASET_TAR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

struct TarMember {
  std::string name;    // Relative, without "." and "..".
  uint64_t begin = 0;  // First byte of the content in the archive.
  uint64_t size = 0;   // Bytes of it; it ends within the archive.
  // Of a link, which has no content: the name of the member that it stands for, made like `name`.
  bool is_link = false;
  std::string target;
};

// Reads headers, and no contents but those of names. Trusts nothing in them. What a tar may hold beside files is
// passed over and counted; only what does not add up is DataLoss, and ends the reading: a bad checksum, a member or
// header that ends after the archive, a size that is no number, other bytes than zeros or a header after the archive's
// end. Members before the defect have been given out by then. An archive may lack its end marker, and others may follow
// it, as other readers allow.
class TarReader {
 public:
  // Reads `count` bytes from `offset`, all of them or an error. Bytes beyond archive_size are not asked for.
  using ReadAt = std::function<absl::Status(uint64_t offset, size_t count, char* out)>;
  TarReader(ReadAt read_at, uint64_t archive_size) : read_at_(std::move(read_at)), archive_size_(archive_size) {}

  // The next regular file or link; false at the end.
  absl::StatusOr<bool> Next(TarMember* member);

  // How many members of other kinds there were so far, by what they are; folders are not counted.
  const std::map<std::string, int64_t>& passed_over() const { return passed_over_; }

  // `name` without "/" in front and without "." and ".." parts; empty if nothing is left of it.
  static std::string CleanName(absl::string_view name);

 private:
  // What GNU and PAX headers say of the member that follows them.
  struct Extension {
    std::string name, target;
    int64_t size = -1;
    bool sparse = false;
  };

  absl::Status SkipEnd();
  absl::StatusOr<std::string> ReadMeta(uint64_t size);
  absl::Status SkipSparseMap(const char* header);

  const ReadAt read_at_;
  const uint64_t archive_size_;
  uint64_t position_ = 0;
  std::map<std::string, int64_t> passed_over_;
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_TAR_H_
