#include "eval/knn/knn_classifier.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "eval/metrics/accuracy.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Rows of length 1; a row of zeros stays as it is.
at::Tensor Normalise(const at::Tensor& features) {
  return features / features.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

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
  return KnnClassifier(Normalise(bank), labels, classes, options);
}

KnnVotes KnnClassifier::Classify(const at::Tensor& queries) const {
  TEC_CHECK(queries.dim() == 2 && queries.size(1) == bank_.size(1) && queries.scalar_type() == bank_.scalar_type());
  const int64_t n = bank_.size(0);
  const int64_t k_max = std::min(n, *std::max_element(options_.k.begin(), options_.k.end()));
  const at::Tensor normalised = Normalise(queries);

  // The nearest so far are ranked again together with each further part of the bank.
  KnnVotes votes;
  for (int64_t begin = 0; begin < n; begin += options_.bank_block) {
    const int64_t length = std::min(options_.bank_block, n - begin);
    at::Tensor similarities = at::matmul(normalised, bank_.narrow(0, begin, length).t());
    auto [nearest, rows] = similarities.topk(std::min(k_max, length), 1, /*largest=*/true, /*sorted=*/true);
    rows = rows + begin;
    if (votes.neighbours.defined()) {
      const at::Tensor all = at::cat({votes.similarities, nearest}, 1);
      const at::Tensor all_rows = at::cat({votes.neighbours, rows}, 1);
      at::Tensor places;
      std::tie(nearest, places) = all.topk(std::min(k_max, all.size(1)), 1, true, true);
      rows = all_rows.gather(1, places);
    }
    votes.similarities = nearest;
    votes.neighbours = rows;
  }

  const at::Tensor weights = (votes.similarities.to(at::kDouble) / options_.temperature).exp();
  const at::Tensor neighbour_labels = labels_.index_select(0, votes.neighbours.reshape({-1})).view_as(votes.neighbours);
  for (int64_t k : options_.k) {
    k = std::min(k, n);
    votes.scores.push_back(at::zeros({queries.size(0), classes_}, weights.options())
                               .scatter_add(1, neighbour_labels.narrow(1, 0, k), weights.narrow(1, 0, k)));
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
  std::vector<AccuracyCounter> counters(options_.k.size(), AccuracyCounter(classes_));
  const at::Tensor host_labels = labels.cpu().contiguous();
  const int64_t* label = host_labels.const_data_ptr<int64_t>();
  for (int64_t begin = 0; begin < queries.size(0); begin += options_.query_block) {
    const int64_t length = std::min(options_.query_block, queries.size(0) - begin);
    const KnnVotes votes = Classify(queries.narrow(0, begin, length));
    for (size_t i = 0; i < counters.size(); ++i) {
      const at::Tensor scores = votes.scores[i].cpu().contiguous();
      const double* row = scores.const_data_ptr<double>();
      for (int64_t q = 0; q < length; ++q) {
        counters[i].Add(absl::Span<const double>(row + q * classes_, classes_), label[begin + q]);
      }
    }
  }
  std::vector<KnnAccuracy> results;
  for (size_t i = 0; i < counters.size(); ++i) {
    results.push_back({options_.k[i], counters[i].top1(), counters[i].top5(), counters[i].PerClassTop1()});
  }
  return results;
}

}  // namespace tec
