// The nearest rows of a bank that is looked at a block at a time.

#ifndef TEC_EVAL_KNN_NEAREST_H_
#define TEC_EVAL_KNN_NEAREST_H_

#include <cstdint>
#include <optional>

#include "ATen/core/Tensor.h"

namespace tec {

// Rows of `features` [n, C] at length 1; a row of zeros stays as it is.
at::Tensor NormaliseRows(const at::Tensor& features);

// Takes the rows of `block` [n, C], which are called `ids` [n], into the k of largest scalar product with each query
// [m, C], nearest first: *similarities and *nearest_ids [m, up to k], which are undefined before the first block. Query
// i and row i + own are the same image, where there is such a row, and are no neighbours. *products [m, n], undefined
// at first, is room to be kept between calls: asked for anew, and a small result of each call behind it, the rooms of
// all calls would stay in the heap, 4 m n bytes each.
void TakeNearest(const at::Tensor& queries, const at::Tensor& block, const at::Tensor& ids, int64_t k,
                 std::optional<int64_t> own, at::Tensor* products, at::Tensor* similarities, at::Tensor* nearest_ids);

}  // namespace tec

#endif  // TEC_EVAL_KNN_NEAREST_H_
