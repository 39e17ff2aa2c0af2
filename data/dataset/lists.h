// Lists of pictures: a path a line and, for labels, what follows it.

#ifndef TEC_DATA_DATASET_LISTS_H_
#define TEC_DATA_DATASET_LISTS_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"
#include "data/dataset/scan.h"

namespace tec {

// Reads the text of the list `path`, as dataset.h describes lists. `split`: of a table with a column that says of each
// picture which part it is for, the part; NotFound for kHeldOut where there is no such column. `labels`: as in
// DatasetOptions. Pictures that the scan leaves out are.
absl::StatusOr<Catalogue> CatalogueList(absl::string_view text, const std::string& path, Split split, bool labels,
                                        Scan* scan);

}  // namespace tec

#endif  // TEC_DATA_DATASET_LISTS_H_
