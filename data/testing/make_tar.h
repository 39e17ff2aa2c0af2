// Tar archives for tests, header by header.

#ifndef TEC_DATA_TESTING_MAKE_TAR_H_
#define TEC_DATA_TESTING_MAKE_TAR_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tec {
namespace testing {

class TarMaker {
 public:
  // A ustar header of any kind ('0' a file, '5' a folder, 'L' GNU's long name, 'x' PAX records, ...), the content and
  // its padding. `size_field`: 12 bytes in the place of the content's size.
  TarMaker& Add(char kind, absl::string_view name, absl::string_view content, absl::string_view size_field = "");
  TarMaker& AddFile(absl::string_view name, absl::string_view content) { return Add('0', name, content); }
  // One record of an 'x' header.
  static std::string Pax(absl::string_view key, absl::string_view value);

  // Writes the right checksum into every block that says "ustar", so that damage to a header gets past it.
  static void MendChecksums(std::string* archive);

  // Two blocks of zeros end an archive.
  std::string Finish() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& unfinished() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace testing
}  // namespace tec

#endif  // TEC_DATA_TESTING_MAKE_TAR_H_
