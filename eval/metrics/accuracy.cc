#include "eval/metrics/accuracy.h"

#include <cmath>

#include "tec/base/logging.h"

namespace tec {
namespace {

template <typename T>
int64_t Rank(absl::Span<const T> values, int64_t label) {
  TEC_CHECK(label >= 0 && label < static_cast<int64_t>(values.size())) << "label " << label << " of " << values.size();
  const T own = values[label];
  if (std::isnan(own)) return static_cast<int64_t>(values.size()) - 1;
  int64_t ahead = 0;
  for (int64_t c = 0; c < static_cast<int64_t>(values.size()); ++c) {
    if (c == label) continue;
    const T other = values[c];
    if (std::isnan(other) || other > own || (other == own && c < label)) ++ahead;
  }
  return ahead;
}

double Percent(int64_t part, int64_t whole) {
  return whole == 0 ? std::nan("") : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

int64_t RankOfLabel(absl::Span<const float> values, int64_t label) { return Rank(values, label); }
int64_t RankOfLabel(absl::Span<const double> values, int64_t label) { return Rank(values, label); }

AccuracyCounter::AccuracyCounter(int64_t classes) {
  TEC_CHECK_GT(classes, 0);
  images_of_class_.assign(classes, 0);
  first_of_class_.assign(classes, 0);
}

void AccuracyCounter::Add(absl::Span<const float> values, int64_t label) {
  TEC_CHECK_EQ(values.size(), images_of_class_.size());
  AddRank(RankOfLabel(values, label), label);
}

void AccuracyCounter::Add(absl::Span<const double> values, int64_t label) {
  TEC_CHECK_EQ(values.size(), images_of_class_.size());
  AddRank(RankOfLabel(values, label), label);
}

void AccuracyCounter::AddRank(int64_t rank, int64_t label) {
  ++images_;
  ++images_of_class_[label];
  if (rank == 0) {
    ++first_;
    ++first_of_class_[label];
  }
  if (rank < 5) ++first_five_;
}

void AccuracyCounter::Merge(int64_t first_five, absl::Span<const int64_t> images_of_class,
                            absl::Span<const int64_t> first_of_class) {
  TEC_CHECK_EQ(images_of_class.size(), images_of_class_.size());
  TEC_CHECK_EQ(first_of_class.size(), first_of_class_.size());
  first_five_ += first_five;
  for (size_t c = 0; c < images_of_class_.size(); ++c) {
    images_ += images_of_class[c];
    first_ += first_of_class[c];
    images_of_class_[c] += images_of_class[c];
    first_of_class_[c] += first_of_class[c];
  }
}

double AccuracyCounter::top1() const { return Percent(first_, images_); }
double AccuracyCounter::top5() const { return Percent(first_five_, images_); }

std::vector<double> AccuracyCounter::PerClassTop1() const {
  std::vector<double> result;
  result.reserve(images_of_class_.size());
  for (size_t c = 0; c < images_of_class_.size(); ++c) {
    result.push_back(Percent(first_of_class_[c], images_of_class_[c]));
  }
  return result;
}

}  // namespace tec
