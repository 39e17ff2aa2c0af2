// The two image sets of an evaluation, with labels in one numbering, and subsets of the training images.

#ifndef TEC_EVAL_FEATURES_LABELLED_DATA_H_
#define TEC_EVAL_FEATURES_LABELLED_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/dataset.h"

namespace tec {

// Which training images are used. The default is all of them. A choice depends on the seed and on how many images each
// class has, not on the order of the classes.
struct SubsetOptions {
  double fraction = 1;    // Of each class, (0, 1], rounded; at least one image.
  int64_t per_class = 0;  // Images of each class ("shots"); all of a class that has fewer. 0: no limit.
  uint64_t seed = 0;

  bool whole() const { return fraction >= 1 && per_class == 0; }
};

// InvalidArgument naming the option out of range. Both options at once are refused.
absl::Status Validate(const SubsetOptions& options);

// The chosen images of `dataset`, in its order. `dataset` must be labelled, `options` valid.
std::shared_ptr<const Dataset> SubsetOf(std::shared_ptr<const Dataset> dataset, const SubsetOptions& options);

struct LabelledData {
  std::shared_ptr<const Dataset> train, held_out;
  std::vector<int64_t> class_of_held_out;  // For each label of held_out, the training set's label of that class.

  const std::vector<std::string>& classes() const { return train->classes(); }
};

// path/train (or path), and path/val or path/test. InvalidArgument where one of them has no labels (`use` says what for
// they are needed), or where held-out classes are not among the training classes. Other errors are OpenDataset's.
absl::StatusOr<LabelledData> OpenLabelledData(const std::string& path, absl::string_view use,
                                              const SubsetOptions& subset = SubsetOptions());

// A number for what a run was computed from: names, labels and order of the images.
uint64_t FingerprintOf(const Dataset& dataset);

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_LABELLED_DATA_H_
