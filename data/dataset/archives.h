// Tar and zip archives of pictures, as data sets.

#ifndef TEC_DATA_DATASET_ARCHIVES_H_
#define TEC_DATA_DATASET_ARCHIVES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"
#include "data/dataset/scan.h"

namespace tec {

// What the archives hold, whose paths are relative to `folder` or absolute. A tar in a tar counts as a folder that is
// called as it is, without .tar; links stand for the members that they name. An archive that is broken is used up to
// its defect (Catalogue::defects). Errors are the system's, which may be gone at the next start, so that no index may
// keep what they have left, and those of data sets: no pictures, labels of some pictures only.
//
// Labels, if they are asked for, are those of the samples (samples.h); where there are none, the classes are the
// folders in the archives, if every picture lies in one of several, or else the archives, if there are several whose
// names are no numbering. `split`, other than kWhole: where the archives hold folders train and val or test, that part
// alone; NotFound for kHeldOut without one.
absl::StatusOr<Catalogue> CatalogueArchives(const std::string& folder, std::vector<std::string> archives, Split split,
                                            bool labels, Scan* scan);

}  // namespace tec

#endif  // TEC_DATA_DATASET_ARCHIVES_H_
