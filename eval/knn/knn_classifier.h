// Weighted k-nearest-neighbour classification of frozen features (recipe.md section 16): the evaluation that trains
// nothing. Features are L2-normalised; the k nearest of the bank vote with weight exp(cosine / temperature) for their
// class.
//
//   TEC_ASSIGN_OR_RETURN(KnnClassifier knn, KnnClassifier::Create(bank, bank_labels, classes, KnnOptions()));
//   KnnVotes votes = knn.Classify(queries);

#ifndef TEC_EVAL_KNN_KNN_CLASSIFIER_H_
#define TEC_EVAL_KNN_KNN_CLASSIFIER_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/metrics/report.h"

namespace tec {

struct KnnOptions {
  std::vector<int64_t> k = {10, 20, 100, 200};  // Each > 0; one larger than the bank means the whole bank.
  double temperature = 0.07;                    // > 0, and exp(1 / temperature) must be a finite double.
  int64_t query_block = 256;                    // Queries compared at once.
  int64_t bank_block = 65536;                   // Bank rows they are compared with at once.
  bool reports = false;                         // Confusion and calibration too: classes^2 numbers for each k.
};

// OK, or InvalidArgument naming the option that is out of range.
absl::Status Validate(const KnnOptions& options);

// For m queries; k_max the largest of the options' k, at most the bank's size.
struct KnnVotes {
  at::Tensor neighbours;           // int64 [m, k_max] rows of the bank, nearest first.
  at::Tensor similarities;         // [m, k_max] their cosines, in the features' type.
  std::vector<at::Tensor> scores;  // For each k: float64 [m, classes], the sum of the votes.
};

// Accuracy for one k, in percent, by the rules of eval/metrics.
struct KnnAccuracy {
  int64_t k = 0;  // As asked for.
  double top1 = 0, top5 = 0;
  ClassificationReport report;  // Only if asked for. A class's share of the votes is its probability.
};

class KnnClassifier {
 public:
  // `bank`: float32 or float64 [n, C], not normalised; a row of zeros stays zero and is similar to nothing.
  // `labels`: int64 [n] in 0..classes-1. InvalidArgument for an empty bank, shapes that do not fit, values that are not
  // finite, labels out of range, or options out of range.
  static absl::StatusOr<KnnClassifier> Create(const at::Tensor& bank, const at::Tensor& labels, int64_t classes,
                                              const KnnOptions& options);

  // `queries`: [m, C] of the bank's type.
  KnnVotes Classify(const at::Tensor& queries) const;

  // Classifies `queries` block by block and counts; one result for each k, in the options' order. `labels`: int64 [m]
  // in 0..classes-1. InvalidArgument for queries that do not fit or are not finite.
  absl::StatusOr<std::vector<KnnAccuracy>> Evaluate(const at::Tensor& queries, const at::Tensor& labels) const;

  // Each row of the bank classified by the others. InvalidArgument for a bank of one row.
  absl::StatusOr<std::vector<KnnAccuracy>> EvaluateLeaveOneOut() const;

  int64_t bank_size() const { return bank_.size(0); }

 private:
  // Of normalised queries. first_row >= 0: they are the bank's rows from there on, and none is its own neighbour.
  KnnVotes Vote(const at::Tensor& queries, int64_t first_row) const;

  KnnClassifier(at::Tensor bank, at::Tensor labels, int64_t classes, KnnOptions options);

  at::Tensor bank_, labels_;  // Normalised [n, C]; [n].
  int64_t classes_;
  KnnOptions options_;
};

// The same accuracies where the bank comes in parts and is not kept: what is held is the queries, each one's nearest so
// far, and one block of the bank.
//
//   TEC_ASSIGN_OR_RETURN(KnnStream knn, KnnStream::Create(queries, query_labels, classes, KnnOptions()));
//   for (...) TEC_RETURN_IF_ERROR(knn.AddBank(features, labels));
//   TEC_ASSIGN_OR_RETURN(std::vector<KnnAccuracy> results, knn.Finish());
class KnnStream {
 public:
  // As the arguments of KnnClassifier::Evaluate and Create. Work is done on the queries' device.
  static absl::StatusOr<KnnStream> Create(const at::Tensor& queries, const at::Tensor& labels, int64_t classes,
                                          const KnnOptions& options);

  // Rows of the bank, any number of them, on any device. InvalidArgument as for KnnClassifier::Create's bank.
  absl::Status AddBank(const at::Tensor& features, const at::Tensor& labels);

  // One result for each k. InvalidArgument for an empty bank. Nothing can be added afterwards.
  absl::StatusOr<std::vector<KnnAccuracy>> Finish();

  int64_t bank_size() const { return bank_size_; }

 private:
  struct Nearest {
    at::Tensor similarities, labels;  // [q, up to k_max], of a block of queries.
  };
  KnnStream(at::Tensor queries, at::Tensor labels, int64_t classes, KnnOptions options);
  // Compares what is buffered with every query.
  void Flush();

  at::Tensor queries_, labels_;  // Normalised [m, C]; [m] on the CPU.
  int64_t classes_;
  KnnOptions options_;
  std::vector<Nearest> nearest_;  // One for each block of queries.
  std::vector<at::Tensor> buffered_features_, buffered_labels_;
  int64_t buffered_ = 0, bank_size_ = 0;
};

}  // namespace tec

#endif  // TEC_EVAL_KNN_KNN_CLASSIFIER_H_
