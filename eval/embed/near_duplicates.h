// Pairs of vectors that are nearly the same.

#ifndef TEC_EVAL_EMBED_NEAR_DUPLICATES_H_
#define TEC_EVAL_EMBED_NEAR_DUPLICATES_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace tec {

struct NearPair {
  int64_t first = 0, second = 0;  // Rows, first < second.
  double cosine = 0;
};

// All pairs of rows of values, float32 [n, d], whose cosine is at least `threshold`, most similar first; of equal ones
// the earlier rows first. A row of zeros is similar to nothing. Exact: every pair is compared, block by block.
std::vector<NearPair> NearPairs(const at::Tensor& values, double threshold);

}  // namespace tec

#endif  // TEC_EVAL_EMBED_NEAR_DUPLICATES_H_
