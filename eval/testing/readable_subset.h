// Class folders of which only a known subset can be read: what a program uses of them shows.

#ifndef TEC_EVAL_TESTING_READABLE_SUBSET_H_
#define TEC_EVAL_TESTING_READABLE_SUBSET_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tec::testing {

// As WritePictures (tiny.h), but only the images that SubsetOptions{1, shots, subset_seed} chooses
// (data/dataset/subset.h) are pictures; the other files are none.
void WriteReadableSubset(const std::string& directory, const std::vector<std::string>& classes, int images_a_class,
                         int64_t shots, uint64_t subset_seed);

}  // namespace tec::testing

#endif  // TEC_EVAL_TESTING_READABLE_SUBSET_H_
