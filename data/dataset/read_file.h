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

// The same, of a folder that has been there: ESTALE is the errno where that is gone, or empty, as a mount point is
// whose file system is away. It says nothing of the image.
absl::Status ReadOfFolder(const std::string& path, std::string* bytes);

// Whether the error is that there is no such file.
bool IsGone(const absl::Status& status);

// An entry of a zip as its directory has it.
struct ZipEntry {
  uint64_t begin = 0;     // Of its local header in the file.
  uint64_t stored = 0;    // Bytes in the file, of which no more are read than the content can need.
  uint64_t size = 0;      // Bytes of the content, once `deflated` is undone.
  uint32_t checksum = 0;  // CRC-32 of the content.
  bool deflated = false;
};

// DataLoss if the header is not there, the bytes cannot be decompressed or have another checksum, for which Python's
// zipfile refuses them, too.
absl::Status ReadZipEntry(int fd, const std::string& path, const ZipEntry& entry, std::string* bytes);

}  // namespace tec

#endif  // TEC_DATA_DATASET_READ_FILE_H_
