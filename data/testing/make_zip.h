// Zip archives for tests, entry by entry.

#ifndef TEC_DATA_TESTING_MAKE_ZIP_H_
#define TEC_DATA_TESTING_MAKE_ZIP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tec {
namespace testing {

class ZipMaker {
 public:
  struct Options {
    bool deflate = false;
    bool zip64 = false;      // Sizes and the place of the entry as 64-bit numbers.
    uint16_t flags = 0;      // 1: encrypted.
    uint16_t method = 0;     // Another number than that of the compression.
    uint8_t system = 3;      // That it was made on: 3 Unix, 0 FAT.
    uint16_t unix_mode = 0;  // With the kind of file; 0: none.
  };
  ZipMaker& Add(absl::string_view name, absl::string_view content) { return Add(name, content, Options()); }
  ZipMaker& Add(absl::string_view name, absl::string_view content, const Options& options);

  // With the directory; `zip64`: its end as 64-bit numbers. `front`: what stands before the archive.
  std::string Finish(bool zip64 = false, absl::string_view comment = "", absl::string_view front = "") const;

 private:
  std::string entries_, directory_;
  uint64_t count_ = 0;
};

}  // namespace testing
}  // namespace tec

#endif  // TEC_DATA_TESTING_MAKE_ZIP_H_
