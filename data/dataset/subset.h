// Parts of a data set: of each class some images, or some of the classes.

#ifndef TEC_DATA_DATASET_SUBSET_H_
#define TEC_DATA_DATASET_SUBSET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
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

// The chosen images of `dataset`, in its order. `options` must be valid. A data set without labels is one class.
std::shared_ptr<const Dataset> SubsetOf(std::shared_ptr<const Dataset> dataset, const SubsetOptions& options);

// At most `count` images of `dataset`, evenly spaced from its first on; all of a smaller one. count >= 1.
std::shared_ptr<const Dataset> EvenlySpaced(std::shared_ptr<const Dataset> dataset, int64_t count);

// Of `dataset`, cut into batches of `batch_size` (the last may be smaller): batch `rank` and each `world_size`-th after
// it. The shares of all ranks hold every image once, and each is in a batch with the images that it would be with
// without ranks. May be empty.
std::shared_ptr<const Dataset> ShareOfBatches(std::shared_ptr<const Dataset> dataset, int64_t batch_size, int64_t rank,
                                              int64_t world_size);

// The images of the named classes alone, which are numbered anew in the data set's order. `names`: separated by commas;
// empty: all. InvalidArgument for a data set without labels and for a name that is not among its classes.
absl::StatusOr<std::shared_ptr<const Dataset>> KeepClasses(std::shared_ptr<const Dataset> dataset,
                                                           absl::string_view names);

}  // namespace tec

#endif  // TEC_DATA_DATASET_SUBSET_H_
