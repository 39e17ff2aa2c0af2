// Folders of pictures: class folders, flat ones, any mixture, folders of archives.

#ifndef TEC_DATA_DATASET_FOLDERS_H_
#define TEC_DATA_DATASET_FOLDERS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"
#include "data/dataset/scan.h"

namespace tec {

bool IsFolder(const std::string& path);
bool IsFile(const std::string& path);

// Calls `take` for what `path` holds directly, in no order, until it returns false. Links are followed. `scan`, if
// there is one, is told that the data set depends on the folder.
absl::Status ForEachEntry(const std::string& path, Scan* scan,
                          const std::function<bool(const char* name, bool folder)>& take);

// What OpenDataset says of folders. `labels`: as in DatasetOptions. `looked_for` tells, where there is nothing, what
// was tried before `path` was chosen. `split`: of archives in it, as CatalogueArchives takes it; kHeldOut is for
// folders that hold any.
absl::StatusOr<Catalogue> CatalogueFolder(const std::string& path, const std::string& looked_for, Split split,
                                          bool labels, Scan* scan);

}  // namespace tec

#endif  // TEC_DATA_DATASET_FOLDERS_H_
