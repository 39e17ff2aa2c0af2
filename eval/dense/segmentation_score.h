// What a segmentation is judged by: pixels by true and predicted class. No tensors.
//
// Intersection over union of a class is TP / (TP + FP + FN), over all pixels whose true number is not ignored; that of
// the mean is over the classes that occur among their true or predicted numbers, as scikit-learn's
// jaccard_score(average="macro") has it. So a prediction that is an ignored number counts as one more class, of 0.

#ifndef TEC_EVAL_DENSE_SEGMENTATION_SCORE_H_
#define TEC_EVAL_DENSE_SEGMENTATION_SCORE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "eval/dense/segmentation_data.h"
#include "nlohmann/json.hpp"

namespace tec {

class SegmentationScore {
 public:
  explicit SegmentationScore(const std::vector<int>& ignored);

  // Pixels: true and predicted numbers, equally many.
  void Add(absl::Span<const uint8_t> truth, absl::Span<const uint8_t> predicted);

  int64_t pixels() const { return pixels_; }  // Not ignored.
  // Percent; NaN without pixels.
  double Accuracy() const;
  double MeanIou() const;
  // Mean over `classes`, of which one that never occurs counts as 0 (Pixio's and UniMatch's).
  double MeanIouOf(const std::vector<int>& classes) const;
  // Percent; NaN for a number that is neither true nor predicted anywhere.
  double Iou(int number) const;
  // Numbers that are, in rising order.
  std::vector<int> Occurring() const;
  int64_t Count(int truth, int predicted) const { return counts_[truth][predicted]; }

  // miou, accuracy, pixels, iou by name, classes and confusion (a row is a true class; both in the order of `classes`).
  nlohmann::ordered_json ToJson(const SegmentationData& data) const;

 private:
  std::array<bool, 256> ignored_ = {};
  std::vector<std::array<int64_t, 256>> counts_;
  int64_t pixels_ = 0;
};

}  // namespace tec

#endif  // TEC_EVAL_DENSE_SEGMENTATION_SCORE_H_
