// The two image sets of an evaluation, with labels in one numbering.

#ifndef TEC_EVAL_FEATURES_LABELLED_DATA_H_
#define TEC_EVAL_FEATURES_LABELLED_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"

namespace tec {

struct LabelledData {
  std::shared_ptr<const Dataset> train, held_out;
  std::vector<int64_t> class_of_held_out;  // For each label of held_out, the training set's label of that class.

  const std::vector<std::string>& classes() const { return train->classes(); }
};

struct LabelledDataOptions {
  std::string classes;               // These alone, of both sets (KeepClasses).
  SubsetOptions subset;              // Of the training images.
  std::string index_folder;          // As in DatasetOptions.
  std::vector<std::string> exclude;  // As in DatasetOptions.
};

// path's part "train" (or path), and its part "val" or "test". InvalidArgument where one of them has no labels (`use`
// says what for they are needed) or not all the named classes, or where held-out classes are not among the training
// classes. Other errors are OpenDataset's.
absl::StatusOr<LabelledData> OpenLabelledData(const std::string& path, absl::string_view use,
                                              const LabelledDataOptions& options = LabelledDataOptions());

// A number for what a run was computed from: names, labels and order of the images.
uint64_t FingerprintOf(const Dataset& dataset);

// The same, and of which files: path, size and time of modification of each that images lie in. Another folder with
// equal names, or a picture put in the place of another, gives another number.
uint64_t FingerprintOfFiles(const Dataset& dataset);

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_LABELLED_DATA_H_
