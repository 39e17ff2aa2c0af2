// Segmentation without training: each pixel of a patch gets the number that most of the nearest training patches have
// at that place (CAPI, arXiv 2502.08769, its eval_segmentation.py).

#ifndef TEC_EVAL_DENSE_KNN_SEGMENTATION_H_
#define TEC_EVAL_DENSE_KNN_SEGMENTATION_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace tec {

enum class PatchDistance { kCosine, kL2 };

class KnnSegmentation {
 public:
  // bank: float32 [n, C], n >= 1, on the device that is to compute; labels: uint8 [n, P * P], on the CPU; k: each at
  // least 1, one larger than n means all.
  KnnSegmentation(const at::Tensor& bank, at::Tensor labels, PatchDistance distance, std::vector<int64_t> k);

  // queries: float32 [m, C] -> for each k the predicted numbers, uint8 [m, P * P]. Of equally frequent numbers the
  // smallest is taken.
  std::vector<at::Tensor> Predict(const at::Tensor& queries) const;

 private:
  // Vectors whose scalar products rank as the distance does.
  at::Tensor Queries(const at::Tensor& features) const;

  at::Tensor bank_, labels_, rows_;
  PatchDistance distance_;
  std::vector<int64_t> k_;
};

}  // namespace tec

#endif  // TEC_EVAL_DENSE_KNN_SEGMENTATION_H_
