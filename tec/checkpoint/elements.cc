#include "tec/checkpoint/elements.h"

#include <immintrin.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

float FromBFloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, sizeof(value));
  return value;
}

uint16_t ToBFloat16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);  // A NaN stays one.
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename Stored, typename Result, typename Widen>
std::vector<Result> Widened(const TensorView& tensor, Widen widen) {
  std::vector<Result> values(tensor.NumElements());
  const char* bytes = tensor.bytes.data();
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    memcpy(&stored, bytes + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<Result>(widen(stored));
  }
  ReleasePages(tensor);
  return values;
}

template <typename Result>
std::vector<Result> ValuesAs(const TensorView& tensor) {
  const auto same = [](auto value) { return value; };
  switch (tensor.dtype) {
    case DType::kBool:
    case DType::kUint8:
      return Widened<uint8_t, Result>(tensor, same);
    case DType::kInt8:
      return Widened<int8_t, Result>(tensor, same);
    case DType::kInt16:
      return Widened<int16_t, Result>(tensor, same);
    case DType::kInt32:
      return Widened<int32_t, Result>(tensor, same);
    case DType::kInt64:
      return Widened<int64_t, Result>(tensor, same);
    case DType::kFloat16:
      return Widened<uint16_t, Result>(tensor, [](uint16_t bits) { return _cvtsh_ss(bits); });
    case DType::kBFloat16:
      return Widened<uint16_t, Result>(tensor, FromBFloat16);
    case DType::kFloat32:
      return Widened<float, Result>(tensor, same);
    case DType::kFloat64:
      return Widened<double, Result>(tensor, same);
  }
  TEC_CHECK(false) << "no such type";
  return {};
}

template <typename Stored, typename Value, typename Narrow>
TensorView Narrowed(const TensorView& tensor, DType dtype, const std::vector<Value>& values, Narrow narrow) {
  std::string bytes(values.size() * sizeof(Stored), '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    const Stored stored = narrow(values[i]);
    memcpy(&bytes[i * sizeof(Stored)], &stored, sizeof(Stored));
  }
  return TensorView::Copy(dtype, tensor.shape, bytes);
}

// Elements in whose bits of `exponent` all are set, which is what infinities and NaN have.
template <typename Stored>
int64_t CountNotFinite(const TensorView& tensor, Stored exponent) {
  int64_t found = 0;
  const char* bytes = tensor.bytes.data();
  const int64_t count = tensor.NumElements();
  for (int64_t i = 0; i < count; ++i) {
    Stored bits;
    memcpy(&bits, bytes + i * sizeof(Stored), sizeof(Stored));
    found += (bits & exponent) == exponent;
  }
  return found;
}

int64_t CountNotFinite(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kFloat16:
      return CountNotFinite<uint16_t>(tensor, 0x7c00);
    case DType::kBFloat16:
      return CountNotFinite<uint16_t>(tensor, 0x7f80);
    case DType::kFloat32:
      return CountNotFinite<uint32_t>(tensor, 0x7f800000);
    case DType::kFloat64: {
      const std::vector<float> values = FloatsOf(tensor);
      return std::count_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    }
    default:
      return 0;
  }
}

}  // namespace

bool IsFloatingPoint(DType dtype) {
  return dtype == DType::kFloat16 || dtype == DType::kBFloat16 || dtype == DType::kFloat32 || dtype == DType::kFloat64;
}

std::vector<float> FloatsOf(const TensorView& tensor) { return ValuesAs<float>(tensor); }
std::vector<double> DoublesOf(const TensorView& tensor) { return ValuesAs<double>(tensor); }

absl::Status CheckFinite(absl::string_view name, const TensorView& tensor) {
  const int64_t count = CountNotFinite(tensor);
  if (count == 0) {
    ReleasePages(tensor);
    return absl::OkStatus();
  }
  const std::vector<float> values = FloatsOf(tensor);
  const auto first = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  int64_t rest = first - values.begin();
  std::vector<int64_t> place(tensor.shape.size());
  for (size_t i = place.size(); i-- > 0; rest /= tensor.shape[i]) place[i] = rest % tensor.shape[i];
  return absl::InvalidArgumentError(absl::StrCat(name, " has ", count, " of ", values.size(),
                                                 " values that are not finite, the first ", *first, " at [",
                                                 absl::StrJoin(place, ","), "]: these weights cannot be used"));
}

TensorView Cast(const TensorView& tensor, DType dtype) {
  TEC_CHECK(IsFloatingPoint(tensor.dtype) && IsFloatingPoint(dtype)) << "only floating-point types are cast";
  if (tensor.dtype == dtype) return tensor;
  switch (dtype) {
    case DType::kFloat16:
      return Narrowed<uint16_t>(tensor, dtype, FloatsOf(tensor),
                                [](float value) { return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); });
    case DType::kBFloat16:
      return Narrowed<uint16_t>(tensor, dtype, FloatsOf(tensor), ToBFloat16);
    case DType::kFloat32:
      return Narrowed<float>(tensor, dtype, FloatsOf(tensor), [](float value) { return value; });
    default:
      return Narrowed<double>(tensor, dtype, DoublesOf(tensor), [](double value) { return value; });
  }
}

}  // namespace tec
