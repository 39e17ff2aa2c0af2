// What a data set holds, as a table that can be written to a file and read back: of a folder, so that it need not be
// scanned again, and of a packed file, whose index it is.

#ifndef TEC_DATA_DATASET_CATALOGUE_H_
#define TEC_DATA_DATASET_CATALOGUE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// Names lie one after another in one string; an image costs its name, where that ends and its label, and within a
// container 20 bytes more, in a zip 32.
struct Catalogue {
  std::vector<std::string> classes;
  // Files that hold many images, such as tar shards; empty: every image is a file of its own.
  std::vector<std::string> containers;
  // Whether a name is to be found in its class's folder.
  bool in_class_folders = false;

  std::string names;
  std::vector<uint64_t> ends;   // Of each name in `names`.
  std::vector<int32_t> labels;  // Empty without labels.
  // Containers that are broken, so that pictures are lost: name and defect of each.
  std::vector<std::string> defects;
  std::string left_out;  // Of what was looked at, files that were not taken for pictures, in words; empty: none.
  std::vector<std::string> warnings;  // What was left out that may be missed, in words.
  std::string why_unlabelled;         // Where labels were looked for in vain, why there are none; empty: not known.
  // Where each image lies; empty without containers.
  std::vector<uint32_t> container;
  std::vector<uint64_t> begin, bytes;
  // Of entries of a zip, whose `begin` is that of their header: the bytes in the file, with kDeflated where they are
  // compressed; kPlain for images that lie in the file as they are. Empty: all do.
  std::vector<uint64_t> packed;
  static constexpr uint64_t kDeflated = uint64_t{1} << 63, kPlain = ~uint64_t{0};
  std::vector<uint32_t> checksums;  // CRC-32 of those entries' content; as many as `packed`.

  int64_t size() const { return static_cast<int64_t>(ends.size()); }
  int32_t label(int64_t index) const { return labels.empty() ? -1 : labels[index]; }
  // Without the class's folder.
  absl::string_view name(int64_t index) const;

  // label -1: none; either all images have one or none.
  void Add(absl::string_view name, int32_t label);
  void AddRecord(absl::string_view name, int32_t label, uint32_t container_index, uint64_t first_byte, uint64_t count,
                 uint64_t packed_bytes = kPlain, uint32_t checksum = 0);
};

// A file or folder as it was when it was catalogued.
struct Stamp {
  std::string path;
  int64_t bytes = 0;     // 0 for a folder.
  int64_t modified = 0;  // Nanoseconds since 1970.
};

// To bytes and back; bytes of earlier versions, which knew neither defects nor files left out, or no zips, are read
// too, but for those of zips without checksums. Bytes that Serialize did not write, damaged ones included, give
// DataLoss and never more memory than a few times their size.
std::string SerializeCatalogue(const Catalogue& catalogue, const std::vector<Stamp>& stamps);
absl::StatusOr<Catalogue> ParseCatalogue(absl::string_view bytes, std::vector<Stamp>* stamps);

}  // namespace tec

#endif  // TEC_DATA_DATASET_CATALOGUE_H_
