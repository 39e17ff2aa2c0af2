// The packed file: encoded images one after another, unchanged, and an index of them. One file instead of a million is
// quick to copy and to open; it is mapped into memory and nothing in it is looked at before it is needed.
//
// Layout, numbers little-endian: "TECPACK1"; the images; the index (data/dataset/catalogue.h); where the index begins
// and how many bytes it has, 8 bytes each; "TECPACKE".

#ifndef TEC_DATA_DATASET_PACK_H_
#define TEC_DATA_DATASET_PACK_H_

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

// The index of a packed file's bytes. DataLoss if it is not one, or damaged or truncated: every record lies in the
// file. The images themselves are not looked at.
absl::StatusOr<Catalogue> ReadPackCatalogue(absl::string_view bytes);

}  // namespace tec

#endif  // TEC_DATA_DATASET_PACK_H_
