// Parts and labels of archives that say both by names alone.

#ifndef TEC_DATA_DATASET_ARCHIVE_LABELS_H_
#define TEC_DATA_DATASET_ARCHIVE_LABELS_H_

#include <string>

#include "absl/status/status.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"

namespace tec {

// Where every picture of `catalogue` lies in one of the folders train, val, valid, validation and test (under folders
// that all share), and some lie in train, leaves those of the part: train, or val or else test. Without such folders
// all pictures are the training part, and kHeldOut is NotFound. `where`: for messages.
absl::Status SelectPart(const std::string& where, Split split, Catalogue* catalogue);

// Gives labels to pictures that have none, if their names tell them: the folder below those that all pictures share, if
// each lies in one of several; else the archive, if there are several whose names are no numbering. Classes are
// numbered in the bytewise order of their names. The log says which; otherwise catalogue->why_unlabelled does.
// InvalidArgument for an archive that stands for a class and has no picture, as of an empty class folder.
absl::Status LabelByNames(Catalogue* catalogue);

}  // namespace tec

#endif  // TEC_DATA_DATASET_ARCHIVE_LABELS_H_
