// Comparison of a computed tensor with a stored one, as one row of a report. It cannot pass by accident: type and shape
// come first, a NaN on either side is an infinite error, and nothing to compare is a failure. No LibTorch.

#ifndef TEC_TOOLS_GOLDENS_COMPARISON_H_
#define TEC_TOOLS_GOLDENS_COMPARISON_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tec/checkpoint/tensor_view.h"

namespace tec {

struct GoldenTolerance {
  enum class Kind {
    kAbsolute,   // |a - b| <= bound
    kRelative,   // |a - b| <= bound * |b|, value by value
    kBits,       // The same bytes.
    kDirection,  // 1 - cosine of the angle between both <= bound; a single value: |a - b| <= kDirectionScalar * |b|.
  };
  Kind kind = Kind::kBits;
  double bound = 0;

  static GoldenTolerance Absolute(double bound) { return {Kind::kAbsolute, bound}; }
  static GoldenTolerance Relative(double bound) { return {Kind::kRelative, bound}; }
  static GoldenTolerance Bits() { return {Kind::kBits, 0}; }
  static GoldenTolerance Direction(double bound) { return {Kind::kDirection, bound}; }
};

// What a loss in bfloat16 may be off by, and the norm under which a stored gradient is rounding noise and has no
// direction.
inline constexpr double kDirectionScalar = 1e-2;
inline constexpr double kRoundingNoise = 1e-6;

// "1e-05", "1e-03 rel", "bits", "cos 0.98".
std::string Describe(const GoldenTolerance& tolerance);

// One comparison.
struct GoldenRow {
  std::string item;      // "tec_tiny"
  std::string quantity;  // "grad.norm.weight"
  std::string group;     // Rows of one group that passed are shown as one: "grad.*". Empty: a row of its own.
  std::string tolerance;
  double absolute = 0;  // Largest |a - b|.
  // Largest |a - b| over the largest |b|; with a relative tolerance, over |b| of the same value; with that of a
  // direction, 1 - cosine.
  double relative = 0;
  double severity = 0;  // Error over tolerance: which row speaks for a group.
  bool pass = false;
  std::string where;  // Where the largest error is, or what is wrong.
};

// Flat indices that are not compared.
using GoldenSkip = std::function<bool(int64_t flat)>;

// Fills everything but item, quantity and group. A 0-dim tensor compares with one of shape [1].
GoldenRow CompareTensors(const TensorView& actual, const TensorView& expected, const GoldenTolerance& tolerance,
                         const GoldenSkip& skip = nullptr);

// Whether a tensor of floating point holds a NaN.
bool HasNan(const TensorView& tensor);

// "[1, 0, 7]" of a flat row-major index.
std::string PlaceOf(int64_t flat, const std::vector<int64_t>& shape);

// A view that owns a copy of the values.
TensorView DoublesOf(const std::vector<double>& values);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_COMPARISON_H_
