// What an evaluation reports beside its accuracy: confusion between classes, accuracy of each class, loss, calibration.
//
//   ReportCounter counter(classes);
//   counter.Add(logits_of_one_image, label);
//   ClassificationReport report = counter.Report();
//
// Of the images shared among several ranks each counts its own; sums of all ranks' Sums() make the whole:
//
//   std::vector<double> sums = counter.Sums();
//   ... added up over the ranks ...
//   ClassificationReport report = ReportCounter(classes, sums).Report();

#ifndef TEC_EVAL_METRICS_REPORT_H_
#define TEC_EVAL_METRICS_REPORT_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "eval/metrics/accuracy.h"
#include "nlohmann/json.hpp"

namespace tec {

// One of the equally wide ranges of confidence (the largest probability) of the calibration error.
struct CalibrationBin {
  int64_t images = 0;
  double confidence = 0;  // Mean over its images; NaN without images.
  double accuracy = 0;    // Part of them that are right, 0..1; NaN without images.
};

// (label, predicted): images, of those pairs that occurred. As large as the images are many, whatever the classes: as a
// full matrix, the 21,841 classes of ImageNet-21k would take 3.8 GB.
using Confusion = std::map<std::pair<int64_t, int64_t>, int64_t>;

struct ClassificationReport {
  int64_t images = 0;
  double top1 = 0, top5 = 0;  // Percent; NaN without images.
  double loss = 0;            // Cross-entropy, mean over images, in nats.
  // Expected calibration error: mean over images of |accuracy - confidence| of the image's bin, 0..1. (Guo et al.,
  // "On calibration of modern neural networks", 2017)
  double calibration_error = 0;
  std::vector<CalibrationBin> bins;
  std::vector<int64_t> images_of_class;
  std::vector<double> per_class_top1;  // Percent; NaN for a class without images.
  Confusion confusion;
  bool confusion_known = true;  // False: counted by several ranks, of more classes than kMostClassesInSums.

  // Mean of per_class_top1 over the classes that have images.
  double MeanPerClassTop1() const;
};

class ReportCounter {
 public:
  static constexpr int kBins = 15;
  // Of more classes Sums() has no confusion, which would take gigabytes.
  static constexpr int64_t kMostClassesInSums = 4096;

  explicit ReportCounter(int64_t classes);
  // What has counted everything that the counters have whose Sums() were added up to `sums`.
  ReportCounter(int64_t classes, absl::Span<const double> sums);
  // `logits`: unnormalised log-probabilities, one a class. 0 <= label < classes.
  void Add(absl::Span<const float> logits, int64_t label);
  void Add(absl::Span<const double> logits, int64_t label);
  // `votes`: unnormalised probabilities, one a class, at least 0 and not all 0. The loss is infinite from the first
  // image on whose label has no vote.
  void AddVotes(absl::Span<const double> votes, int64_t label);
  ClassificationReport Report() const;
  // All that was counted, classes^2 + 2 classes + 47 numbers, or 2 classes + 47 of more than kMostClassesInSums; counts
  // are exact up to 2^53.
  std::vector<double> Sums() const;

 private:
  void Count(int64_t label, size_t predicted, double loss, double confidence);

  AccuracyCounter accuracy_;
  double loss_ = 0;
  std::vector<CalibrationBin> bins_;  // Sums, not means.
  Confusion confusion_;
  bool confusion_known_ = true;
};

// Above so many classes results.json has no matrix but "confused", the pairs of different classes that were confused
// most often, at most kMostPairs of them, each [label, predicted, images]; WriteConfusion has all.
inline constexpr size_t kMostClassesAsMatrix = 500;
inline constexpr size_t kMostPairs = 1000;

// For results.json; what is not a number there (NaN) is null.
nlohmann::ordered_json ToJson(const ClassificationReport& report, const std::vector<std::string>& classes);

// For reading: the numbers, the classes told worst and the pairs most often confused, a few of each.
std::string FormatReport(const ClassificationReport& report, const std::vector<std::string>& classes);

// The whole confusion as a NumPy file (.npy): int64 [pairs, 3], rows (label, predicted, images) in rising order; right
// answers are in it. FailedPrecondition where it is not known; other errors are WriteFile's.
absl::Status WriteConfusion(const ClassificationReport& report, const std::string& path);

// `json` with one line for each key of the top level and of what stands directly below it: a confusion matrix with a
// line a number could not be read.
std::string FormatJson(const nlohmann::ordered_json& json);

}  // namespace tec

#endif  // TEC_EVAL_METRICS_REPORT_H_
