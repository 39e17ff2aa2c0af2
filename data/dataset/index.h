// Data sets that are catalogued once and kept as an index for later starts.

#ifndef TEC_DATA_DATASET_INDEX_H_
#define TEC_DATA_DATASET_INDEX_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"
#include "data/dataset/scan.h"

namespace tec {

// The data set `path` from its index, or else from the catalogue that `make` makes. The scan that it is given must
// depend on `path`, or for several files the first of them, before all else. `folder`: what names are relative to.
// `variant`: what of several catalogues of the path it is. The log tells defects and what is left out on every start.
absl::StatusOr<std::unique_ptr<Dataset>> OpenIndexed(const std::string& path, const std::string& folder,
                                                     const std::string& variant, const DatasetOptions& options,
                                                     const std::function<absl::StatusOr<Catalogue>(Scan*)>& make);

}  // namespace tec

#endif  // TEC_DATA_DATASET_INDEX_H_
