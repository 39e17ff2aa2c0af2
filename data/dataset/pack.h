// The packed file: encoded images one after another, unchanged, and an index of them. One file instead of a million is
// quick to copy and to open; nothing but the index is read before it is needed. It is not mapped into memory: of a file
// that somebody cuts short, or a disk that fails, a mapping tells by a signal that ends the program.
//
// Layout, numbers little-endian: "TECPACK1"; the images; the index (data/dataset/catalogue.h); where the index begins
// and how many bytes it has, 8 bytes each; "TECPACKE".

#ifndef TEC_DATA_DATASET_PACK_H_
#define TEC_DATA_DATASET_PACK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"

namespace tec {

inline constexpr absl::string_view kPackSuffix = ".tecpack";
bool IsPackName(absl::string_view name);

// Writes all of `dataset` to `path`, whole or not at all. `progress`, if set, is called now and then with the number of
// images done. An image that cannot be read is an error naming it: nothing is left out silently.
absl::Status WritePack(const Dataset& dataset, const std::string& path,
                       const std::function<void(int64_t)>& progress = nullptr);

// The index of a packed file of `size` bytes. DataLoss if it is not one, or damaged or truncated: every record lies in
// the file. The images themselves are not looked at. Further errors are those of `read_at`.
using PackReadAt = std::function<absl::Status(uint64_t offset, size_t count, char* out)>;
absl::StatusOr<Catalogue> ReadPackCatalogue(const PackReadAt& read_at, uint64_t size);
// The same of bytes in memory.
absl::StatusOr<Catalogue> ReadPackCatalogue(absl::string_view bytes);

}  // namespace tec

#endif  // TEC_DATA_DATASET_PACK_H_
