// A part of a labelled data set as class folders of its own: the pictures of the small scale.

#ifndef TEC_EVAL_REPRODUCE_SUBSET_H_
#define TEC_EVAL_REPRODUCE_SUBSET_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace tec {

struct SubsetSizes {
  int64_t train_images = 0;
  int64_t held_out_images = 0;
};

// Copies images of `from`'s training and held-out part (its train/, and val/ or test/), as they are, to
// `to`/train/CLASS/ and `to`/val/CLASS/: the same number of each class, as far as there are so many, at most `wanted`
// in all. Which ones is a function of their order in `from`. Returns how many there are now. What a finished call left
// is taken as it is; an unfinished one is done again. InvalidArgument where images have no labels, or where `to` holds
// a subset of other sizes.
absl::StatusOr<SubsetSizes> CopySubset(const std::string& from, const std::string& to, const SubsetSizes& wanted);

}  // namespace tec

#endif  // TEC_EVAL_REPRODUCE_SUBSET_H_
