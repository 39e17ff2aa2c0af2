// Top-1 and top-5 accuracy, the numbers that an evaluation reports.
//
//   AccuracyCounter counter(classes);
//   counter.Add(logits_of_one_image, label);
//   double top1 = counter.top1();  // percent
//
// Ties: classes with equal values are ranked by class number, the smaller first, so that a result never depends on the
// sort. With fewer than five classes top-5 is 100, as every label is then among the first five.

#ifndef TEC_EVAL_METRICS_ACCURACY_H_
#define TEC_EVAL_METRICS_ACCURACY_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tec {

// The place of `label` when classes are ordered by falling value, 0 is first; equal values by rising class number.
// NaN never helps: a class with value NaN ranks before every other class than itself, and a label whose own value is
// NaN comes last. 0 <= label < values.size().
int64_t RankOfLabel(absl::Span<const float> values, int64_t label);
int64_t RankOfLabel(absl::Span<const double> values, int64_t label);

// Counts images; each is added once.
class AccuracyCounter {
 public:
  explicit AccuracyCounter(int64_t classes);

  // `values`: one score a class, larger is better. 0 <= label < classes.
  void Add(absl::Span<const float> values, int64_t label);
  void Add(absl::Span<const double> values, int64_t label);

  int64_t images() const { return images_; }
  // Images whose label is the first class, and among the first five.
  int64_t first() const { return first_; }
  int64_t first_five() const { return first_five_; }
  // Percent of the images whose label is among the first k classes; NaN before the first image.
  double top1() const;
  double top5() const;
  // top1() of the images of each class; NaN for a class without images.
  std::vector<double> PerClassTop1() const;
  // By class: images, and those of them whose label is the first class.
  const std::vector<int64_t>& images_of_class() const { return images_of_class_; }
  const std::vector<int64_t>& first_of_class() const { return first_of_class_; }
  // Takes in what another one has counted, from its first_five(), images_of_class() and first_of_class().
  void Merge(int64_t first_five, absl::Span<const int64_t> images_of_class, absl::Span<const int64_t> first_of_class);

 private:
  void AddRank(int64_t rank, int64_t label);

  int64_t images_ = 0, first_ = 0, first_five_ = 0;
  std::vector<int64_t> images_of_class_, first_of_class_;
};

}  // namespace tec

#endif  // TEC_EVAL_METRICS_ACCURACY_H_
