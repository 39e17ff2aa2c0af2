#include "eval/knn/knn_classifier.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "eval/knn/nearest.h"
#include "eval/metrics/accuracy.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

absl::Status CheckFeatures(const at::Tensor& features, const at::Tensor& labels, int64_t classes, const char* what) {
  if (features.dim() != 2 || features.size(0) == 0 || features.size(1) == 0) {
    return absl::InvalidArgumentError(absl::StrCat("kNN: the ", what, " is empty: no features"));
  }
  if (features.scalar_type() != at::kFloat && features.scalar_type() != at::kDouble) {
    return absl::InvalidArgumentError(absl::StrCat("kNN: the ", what, "'s features are neither float32 nor float64"));
  }
  if (labels.dim() != 1 || labels.scalar_type() != at::kLong || labels.size(0) != features.size(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("kNN: the ", what, " has ", features.size(0), " features and ", labels.numel(), " labels"));
  }
  const int64_t low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  if (low < 0 || high >= classes) {
    return absl::InvalidArgumentError(
        absl::StrCat("kNN: the ", what, " has label ", low < 0 ? low : high, ", but there are ", classes, " classes"));
  }
  if (!at::isfinite(features).all().item<bool>()) {
    return absl::InvalidArgumentError(absl::StrCat("kNN: the ", what, " holds features that are not finite"));
  }
  return absl::OkStatus();
}

// float64 [m, classes]: for each query the sum of the votes of its k nearest. similarities, labels [m, at least k].
at::Tensor Scores(const at::Tensor& similarities, const at::Tensor& labels, int64_t k, int64_t classes,
                  double temperature) {
  const at::Tensor weights = (similarities.narrow(1, 0, k).to(at::kDouble) / temperature).exp();
  return at::zeros({similarities.size(0), classes}, weights.options()).scatter_add(1, labels.narrow(1, 0, k), weights);
}

// What is counted for one k.
struct Counter {
  AccuracyCounter accuracy;
  std::optional<ReportCounter> report;
};

std::vector<Counter> CountersFor(const KnnOptions& options, int64_t classes) {
  Counter counter = {AccuracyCounter(classes), std::nullopt};
  if (options.reports) counter.report.emplace(classes);
  return std::vector<Counter>(options.k.size(), counter);
}

// Counts the rows of `scores` [q, classes], whose labels begin at `label`.
void Count(const at::Tensor& scores, const int64_t* label, Counter* counter) {
  const at::Tensor host = scores.cpu().contiguous();
  const int64_t classes = host.size(1);
  for (int64_t q = 0; q < host.size(0); ++q) {
    const absl::Span<const double> votes(host.const_data_ptr<double>() + q * classes, classes);
    counter->accuracy.Add(votes, label[q]);
    if (counter->report) counter->report->AddVotes(votes, label[q]);
  }
}

std::vector<KnnAccuracy> AccuraciesOf(const std::vector<Counter>& counters, const KnnOptions& options) {
  std::vector<KnnAccuracy> results;
  for (size_t i = 0; i < counters.size(); ++i) {
    const Counter& counter = counters[i];
    results.push_back({options.k[i], counter.accuracy.top1(), counter.accuracy.top5(),
                       counter.report ? counter.report->Report() : ClassificationReport()});
  }
  return results;
}

}  // namespace

absl::Status Validate(const KnnOptions& options) {
  if (options.k.empty()) return absl::InvalidArgumentError("kNN: no k is given");
  for (int64_t k : options.k) {
    if (k <= 0) return absl::InvalidArgumentError(absl::StrCat("kNN: k is ", k, "; it must be at least 1"));
  }
  if (!(options.temperature > 0) || !std::isfinite(std::exp(1 / options.temperature))) {
    return absl::InvalidArgumentError(
        absl::StrCat("kNN: temperature is ", options.temperature, "; it must be between 0.0015 and infinity"));
  }
  return absl::OkStatus();
}

KnnClassifier::KnnClassifier(at::Tensor bank, at::Tensor labels, int64_t classes, KnnOptions options)
    : bank_(std::move(bank)), labels_(std::move(labels)), classes_(classes), options_(std::move(options)) {}

absl::StatusOr<KnnClassifier> KnnClassifier::Create(const at::Tensor& bank, const at::Tensor& labels, int64_t classes,
                                                    const KnnOptions& options) {
  TEC_RETURN_IF_ERROR(CheckFeatures(bank, labels, classes, "bank"));
  TEC_RETURN_IF_ERROR(Validate(options));
  TEC_CHECK(options.query_block > 0 && options.bank_block > 0);
  return KnnClassifier(NormaliseRows(bank), labels, classes, options);
}

KnnVotes KnnClassifier::Classify(const at::Tensor& queries) const {
  TEC_CHECK(queries.dim() == 2 && queries.size(1) == bank_.size(1) && queries.scalar_type() == bank_.scalar_type());
  return Vote(NormaliseRows(queries), /*first_row=*/-1);
}

KnnVotes KnnClassifier::Vote(const at::Tensor& queries, int64_t first_row) const {
  const int64_t n = bank_.size(0), others = first_row < 0 ? n : n - 1;
  const int64_t k_max = std::min(others, *std::max_element(options_.k.begin(), options_.k.end()));
  KnnVotes votes;
  at::Tensor products;
  for (int64_t begin = 0; begin < n; begin += options_.bank_block) {
    const int64_t length = std::min(options_.bank_block, n - begin);
    TakeNearest(queries, bank_.narrow(0, begin, length), at::arange(begin, begin + length, labels_.options()), k_max,
                first_row < 0 ? std::nullopt : std::make_optional(first_row - begin), &products, &votes.similarities,
                &votes.neighbours);
  }
  const at::Tensor labels = labels_.index_select(0, votes.neighbours.reshape({-1})).view_as(votes.neighbours);
  for (const int64_t k : options_.k) {
    votes.scores.push_back(Scores(votes.similarities, labels, std::min(k, others), classes_, options_.temperature));
  }
  return votes;
}

absl::StatusOr<std::vector<KnnAccuracy>> KnnClassifier::Evaluate(const at::Tensor& queries,
                                                                 const at::Tensor& labels) const {
  TEC_RETURN_IF_ERROR(CheckFeatures(queries, labels, classes_, "query set"));
  if (queries.size(1) != bank_.size(1) || queries.scalar_type() != bank_.scalar_type()) {
    return absl::InvalidArgumentError(absl::StrCat("kNN: the queries have ", queries.size(1), " features, the bank ",
                                                   bank_.size(1), ", or another type"));
  }
  std::vector<Counter> counters = CountersFor(options_, classes_);
  const at::Tensor host_labels = labels.cpu().contiguous();
  const int64_t* label = host_labels.const_data_ptr<int64_t>();
  for (int64_t begin = 0; begin < queries.size(0); begin += options_.query_block) {
    const int64_t length = std::min(options_.query_block, queries.size(0) - begin);
    const KnnVotes votes = Classify(queries.narrow(0, begin, length));
    for (size_t i = 0; i < counters.size(); ++i) Count(votes.scores[i], label + begin, &counters[i]);
  }
  return AccuraciesOf(counters, options_);
}

absl::StatusOr<std::vector<KnnAccuracy>> KnnClassifier::EvaluateLeaveOneOut() const {
  if (bank_.size(0) < 2) return absl::InvalidArgumentError("kNN: one image has no neighbours but itself");
  std::vector<Counter> counters = CountersFor(options_, classes_);
  const at::Tensor host_labels = labels_.cpu().contiguous();
  for (int64_t begin = 0; begin < bank_.size(0); begin += options_.query_block) {
    const int64_t length = std::min(options_.query_block, bank_.size(0) - begin);
    const KnnVotes votes = Vote(bank_.narrow(0, begin, length), begin);
    for (size_t i = 0; i < counters.size(); ++i) {
      Count(votes.scores[i], host_labels.const_data_ptr<int64_t>() + begin, &counters[i]);
    }
  }
  return AccuraciesOf(counters, options_);
}

KnnStream::KnnStream(at::Tensor queries, at::Tensor labels, int64_t classes, KnnOptions options)
    : queries_(std::move(queries)), labels_(std::move(labels)), classes_(classes), options_(std::move(options)) {
  nearest_.resize((queries_.size(0) + options_.query_block - 1) / options_.query_block);
}

absl::StatusOr<KnnStream> KnnStream::Create(const at::Tensor& queries, const at::Tensor& labels, int64_t classes,
                                            const KnnOptions& options) {
  TEC_RETURN_IF_ERROR(CheckFeatures(queries, labels, classes, "query set"));
  TEC_RETURN_IF_ERROR(Validate(options));
  TEC_CHECK(options.query_block > 0 && options.bank_block > 0);
  return KnnStream(NormaliseRows(queries), labels.cpu().contiguous(), classes, options);
}

absl::Status KnnStream::AddBank(const at::Tensor& features, const at::Tensor& labels) {
  TEC_RETURN_IF_ERROR(CheckFeatures(features, labels, classes_, "bank"));
  if (features.size(1) != queries_.size(1) || features.scalar_type() != queries_.scalar_type()) {
    return absl::InvalidArgumentError(absl::StrCat("kNN: the bank has ", features.size(1), " features, the queries ",
                                                   queries_.size(1), ", or another type"));
  }
  // In pieces that fill the block exactly: what is computed does not depend on how the bank is cut.
  for (int64_t begin = 0; begin < features.size(0);) {
    const int64_t length = std::min(features.size(0) - begin, options_.bank_block - buffered_);
    // Copies: the caller may use its memory again.
    buffered_features_.push_back(features.narrow(0, begin, length).clone());
    buffered_labels_.push_back(labels.narrow(0, begin, length).clone());
    buffered_ += length;
    begin += length;
    if (buffered_ == options_.bank_block) Flush();
  }
  return absl::OkStatus();
}

void KnnStream::Flush() {
  if (buffered_ == 0) return;
  const at::Tensor block = NormaliseRows(at::cat(buffered_features_).to(queries_.device()));
  const at::Tensor labels = at::cat(buffered_labels_).to(queries_.device());
  buffered_features_.clear();
  buffered_labels_.clear();
  bank_size_ += buffered_;
  buffered_ = 0;
  const int64_t k_max = *std::max_element(options_.k.begin(), options_.k.end());
  at::Tensor products;
  for (size_t i = 0; i < nearest_.size(); ++i) {
    const int64_t begin = static_cast<int64_t>(i) * options_.query_block;
    const int64_t length = std::min(options_.query_block, queries_.size(0) - begin);
    TakeNearest(queries_.narrow(0, begin, length), block, labels, k_max, /*own=*/std::nullopt, &products,
                &nearest_[i].similarities, &nearest_[i].labels);
  }
}

absl::StatusOr<std::vector<KnnAccuracy>> KnnStream::Finish() {
  Flush();
  if (bank_size_ == 0) return absl::InvalidArgumentError("kNN: the bank is empty: no features");
  std::vector<Counter> counters = CountersFor(options_, classes_);
  for (size_t b = 0; b < nearest_.size(); ++b) {
    const int64_t* label = labels_.const_data_ptr<int64_t>() + static_cast<int64_t>(b) * options_.query_block;
    for (size_t i = 0; i < counters.size(); ++i) {
      const int64_t k = std::min(options_.k[i], bank_size_);
      Count(Scores(nearest_[b].similarities, nearest_[b].labels, k, classes_, options_.temperature), label,
            &counters[i]);
    }
  }
  return AccuraciesOf(counters, options_);
}

}  // namespace tec
