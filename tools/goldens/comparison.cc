#include "tools/goldens/comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace tec {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
std::vector<double> Widened(const TensorView& tensor) {
  const std::vector<T> values = tensor.Values<T>();
  return std::vector<double>(values.begin(), values.end());
}

// False for the 16-bit types, which are inputs or compared by their bits.
bool ToDoubles(const TensorView& tensor, std::vector<double>* values) {
  switch (tensor.dtype) {
    case DType::kFloat32:
      *values = Widened<float>(tensor);
      return true;
    case DType::kFloat64:
      *values = tensor.Values<double>();
      return true;
    case DType::kInt64:
      *values = Widened<int64_t>(tensor);
      return true;
    case DType::kInt32:
      *values = Widened<int32_t>(tensor);
      return true;
    case DType::kInt16:
      *values = Widened<int16_t>(tensor);
      return true;
    case DType::kInt8:
      *values = Widened<int8_t>(tensor);
      return true;
    case DType::kUint8:
    case DType::kBool:
      *values = Widened<uint8_t>(tensor);
      return true;
    default:
      return false;
  }
}

template <typename Word>
bool AnyNan(const TensorView& tensor, Word exponent) {
  const Word magnitude = static_cast<Word>(~Word{0}) >> 1;
  const std::vector<Word> words = tensor.Values<Word>();
  return std::any_of(words.begin(), words.end(),
                     [exponent, magnitude](Word word) { return (word & magnitude) > exponent; });
}

std::string ShapeText(const TensorView& tensor) { return Describe(tensor); }

double Cosine(const std::vector<double>& a, const std::vector<double>& b, const GoldenSkip& skip) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (skip && skip(i)) continue;
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  if (bb < kRoundingNoise * kRoundingNoise && aa == aa) return 1;
  return dot / std::sqrt(aa * bb);
}

}  // namespace

std::string Describe(const GoldenTolerance& tolerance) {
  switch (tolerance.kind) {
    case GoldenTolerance::Kind::kAbsolute:
      return absl::StrFormat("%.2g", tolerance.bound);
    case GoldenTolerance::Kind::kRelative:
      return absl::StrFormat("%.2g rel", tolerance.bound);
    case GoldenTolerance::Kind::kBits:
      return "bits";
    case GoldenTolerance::Kind::kDirection:
      return absl::StrFormat("cos %.2g", 1 - tolerance.bound);
  }
  return "";
}

std::string PlaceOf(int64_t flat, const std::vector<int64_t>& shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = flat % shape[d];
    flat /= shape[d];
  }
  return absl::StrCat("[", absl::StrJoin(index, ", "), "]");
}

TensorView DoublesOf(const std::vector<double>& values) {
  return TensorView::Copy(
      DType::kFloat64, {static_cast<int64_t>(values.size())},
      absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)));
}

bool HasNan(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kFloat16:
      return AnyNan<uint16_t>(tensor, 0x7C00);
    case DType::kBFloat16:
      return AnyNan<uint16_t>(tensor, 0x7F80);
    case DType::kFloat32:
      return AnyNan<uint32_t>(tensor, 0x7F800000);
    case DType::kFloat64:
      return AnyNan<uint64_t>(tensor, 0x7FF0000000000000);
    default:
      return false;
  }
}

GoldenRow CompareTensors(const TensorView& actual, const TensorView& expected, const GoldenTolerance& tolerance,
                         const GoldenSkip& skip) {
  GoldenRow row;
  row.tolerance = Describe(tolerance);
  row.absolute = row.relative = row.severity = kInfinity;
  const bool scalars = actual.NumElements() == 1 && expected.NumElements() == 1 && actual.shape.size() <= 1 &&
                       expected.shape.size() <= 1;
  if ((actual.shape != expected.shape && !scalars) || actual.dtype != expected.dtype) {
    row.where = absl::StrCat("computed ", ShapeText(actual), ", stored ", ShapeText(expected));
    return row;
  }
  if (expected.NumElements() == 0) {
    row.pass = tolerance.kind == GoldenTolerance::Kind::kBits;  // Of files, whose shapes are what is compared.
    if (row.pass) row.absolute = row.relative = row.severity = 0;
    if (row.pass) return row;
    row.where = "there is nothing to compare";
    return row;
  }
  std::vector<double> a, b;
  if (!ToDoubles(actual, &a) || !ToDoubles(expected, &b)) {
    row.pass = tolerance.kind == GoldenTolerance::Kind::kBits && actual.bytes == expected.bytes;
    if (row.pass) row.absolute = row.relative = row.severity = 0;
    if (!row.pass) row.where = "the bits differ";
    return row;
  }

  const bool bits = tolerance.kind == GoldenTolerance::Kind::kBits;
  const size_t element = DTypeSize(expected.dtype);
  double largest_expected = 0, worst = -1;
  int64_t place = 0, wrong = 0, compared = 0;
  row.absolute = row.relative = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (skip && skip(i)) continue;
    ++compared;
    const bool same_bits =
        std::memcmp(actual.bytes.data() + i * element, expected.bytes.data() + i * element, element) == 0;
    double error = std::abs(a[i] - b[i]);
    if (bits && same_bits) error = 0;
    if (std::isnan(error)) error = a[i] == b[i] ? 0 : kInfinity;
    const double size = std::abs(b[i]);
    if (!std::isnan(size)) largest_expected = std::max(largest_expected, size);
    double measure = error;
    if (tolerance.kind == GoldenTolerance::Kind::kRelative) {
      measure = error == 0 ? 0 : error / size;
      row.relative = std::max(row.relative, measure);
    }
    const bool good = bits ? same_bits : measure <= tolerance.bound;
    if (!good) ++wrong;
    // A difference in bits alone, as between 0 and -0, has no size but a place.
    if (measure > worst || (bits && !same_bits && wrong == 1 && worst == 0)) {
      worst = std::max(measure, 0.0);
      place = i;
    }
    row.absolute = std::max(row.absolute, error);
  }
  if (compared == 0) {
    row.where = "there is nothing to compare";
    return row;
  }
  if (tolerance.kind != GoldenTolerance::Kind::kRelative) {
    row.relative = row.absolute == 0 ? 0 : row.absolute / largest_expected;
  }
  std::string how_many;
  if (tolerance.kind == GoldenTolerance::Kind::kDirection) {
    double bound = tolerance.bound;
    if (compared == 1) {
      bound = kDirectionScalar;
    } else {
      row.relative = 1 - Cosine(a, b, skip);
      if (row.absolute == kInfinity) row.relative = kInfinity;
    }
    row.pass = row.relative <= bound;
    row.severity = row.relative / bound;
  } else {
    row.pass = wrong == 0;
    row.severity = bits ? wrong : worst / tolerance.bound;
    if (!row.pass) how_many = absl::StrFormat("%d of %d wrong, worst at ", wrong, compared);
  }
  if (row.pass && row.absolute == 0) return row;
  row.where =
      absl::StrCat(how_many, PlaceOf(place, expected.shape), absl::StrFormat(": %.9g, not %.9g", a[place], b[place]));
  return row;
}

}  // namespace tec
