// The pictures that the benchmarks of this folder work on.

#ifndef TEC_BENCHMARKS_DATA_PICTURES_H_
#define TEC_BENCHMARKS_DATA_PICTURES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tec {

// Takes --folder=PATH out of the arguments and returns PATH, "" without it; under `bazel run` goes to the caller's
// folder first, which paths count from.
std::string TakeFolderFlag(int* argc, char** argv);

// At most `count` encoded pictures of the data set at `folder`, spread over it. With folder "" `count` made ones of
// ImageNet's mean size: smooth shapes with noise, 400 x 468, JPEG quality 90, 4:2:0. Aborts on an error.
std::vector<std::string> EncodedPictures(const std::string& folder, int64_t count);

}  // namespace tec

#endif  // TEC_BENCHMARKS_DATA_PICTURES_H_
