#include "tec/run/meter.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace tec {

void Meter::Add(double value) {
  newest_.push_back(value);
  if (newest_.size() > window_) newest_.pop_front();
  total_ += value;
  ++count_;
}

void Meter::Restore(double total, int64_t count) {
  newest_.clear();
  total_ = total;
  count_ = count;
}

double Meter::Median() const {
  if (newest_.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted(newest_.begin(), newest_.end());
  const auto middle = sorted.begin() + (sorted.size() - 1) / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

double Meter::Mean() const {
  if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
  return total_ / count_;
}

}  // namespace tec
