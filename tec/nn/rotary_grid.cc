#include "tec/nn/rotary_grid.h"

#include <cmath>

namespace tec {

std::vector<double> RotaryFrequencies(double theta, int64_t count, double scale) {
  std::vector<double> frequencies(count);
  for (int64_t k = 0; k < count; ++k) {
    frequencies[k] = scale * std::pow(theta, -static_cast<double>(k) / static_cast<double>(count));
  }
  return frequencies;
}

std::vector<double> RotaryAngles(const RotaryGrid& rotary, int64_t grid) {
  const double size = static_cast<double>(grid), span = rotary.span == 0 ? size : rotary.span;
  const auto coordinate = [&](int64_t i) {
    return (static_cast<double>(i) + rotary.shift) * span / size + rotary.origin;
  };
  std::vector<double> angles;
  angles.reserve(grid * grid * 2 * rotary.frequencies.size());
  for (int64_t y = 0; y < grid; ++y) {
    for (int64_t x = 0; x < grid; ++x) {
      for (double frequency : rotary.frequencies) angles.push_back(coordinate(y) * frequency);
      for (double frequency : rotary.frequencies) angles.push_back(coordinate(x) * frequency);
    }
  }
  return angles;
}

}  // namespace tec
