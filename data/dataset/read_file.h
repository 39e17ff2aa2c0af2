// Reading of encoded images out of files: whole files, parts, members of zips.

#ifndef TEC_DATA_DATASET_READ_FILE_H_
#define TEC_DATA_DATASET_READ_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace tec {

// The most bytes of one encoded image, in a file, an archive or a packed file: more would only fill the memory.
inline constexpr uint64_t kMaxEncodedBytes = uint64_t{256} << 20;

// A descriptor that is closed with it; none if negative.
struct OpenedFile {
  explicit OpenedFile(int descriptor) : fd(descriptor) {}
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;
  ~OpenedFile();
  const int fd;
};

// Opens `path` for reading; a FIFO does not hold it up.
int OpenForReading(const std::string& path);

// ResourceExhausted for more than kMaxEncodedBytes.
absl::Status CheckEncodedSize(uint64_t bytes);

// Bytes [begin, begin + count) of an open file, which is known to have them. DataLoss, with ESTALE as its errno, where
// it has become shorter.
absl::Status ReadRange(int fd, const std::string& path, uint64_t begin, uint64_t count, char* out);

// A whole regular file.
absl::Status ReadInto(const std::string& path, std::string* bytes);

// An entry of a zip whose local header begins at `begin`: `stored` bytes in the file, which are `size` when `deflated`
// is undone. DataLoss if the header is not there or the bytes are broken. The CRC-32 is not looked at: like a file of a
// folder, a picture is judged by its decoder.
absl::Status ReadZipEntry(int fd, const std::string& path, uint64_t begin, uint64_t stored, uint64_t size,
                          bool deflated, std::string* bytes);

}  // namespace tec

#endif  // TEC_DATA_DATASET_READ_FILE_H_
