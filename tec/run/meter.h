// Means and medians of the values that are logged, as the reference's console shows them (recipe.md section 11).

#ifndef TEC_RUN_METER_H_
#define TEC_RUN_METER_H_

#include <cstddef>
#include <cstdint>
#include <deque>

namespace tec {

// A series of values: the median of the newest ones, the mean of all.
class Meter {
 public:
  explicit Meter(size_t window = 20) : window_(window) {}

  void Add(double value);
  // Goes on from sums saved earlier; the window starts empty.
  void Restore(double total, int64_t count);

  // Of the newest `window` values, the lower middle one. NaN while there is none.
  double Median() const;
  // Of all values since the start or Restore(), those restored included. NaN while there is none.
  double Mean() const;
  double total() const { return total_; }
  int64_t count() const { return count_; }

 private:
  size_t window_;
  std::deque<double> newest_;
  double total_ = 0;
  int64_t count_ = 0;
};

}  // namespace tec

#endif  // TEC_RUN_METER_H_
