// The CPU half of residual_norm_kernels.h. A row is gone through two or three times while it lies in the first cache;
// the loops are written for the compiler to vectorise (their sums by parts, which `omp simd` allows).

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "tec/base/logging.h"
#include "tec/nn/bfloat16_bits.h"
#include "tec/nn/parallel.h"
#include "tec/nn/residual_norm_kernels.h"

namespace tec {
namespace {

// Elements that are worth a thread.
constexpr int64_t kGrain = 32768;

template <typename T>
T* PartOf(const RowParts& parts, int64_t part, int64_t row) {
  return static_cast<T*>(parts.at[part]) + row * parts.width;
}

template <typename T>
const T* RowOf(const void* rows, int64_t row, int64_t width) {
  return static_cast<const T*>(rows) + row * width;
}

// The row in one piece: where it lies, or copied into `buffer`.
template <typename T>
const T* Whole(const RowParts& parts, int64_t row, T* buffer) {
  if (parts.count == 1) return PartOf<T>(parts, 0, row);
  for (int64_t p = 0; p < parts.count; ++p) {
    std::copy_n(PartOf<T>(parts, p, row), parts.width, buffer + p * parts.width);
  }
  return buffer;
}

template <typename T>
T Sum(const T* x, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

template <typename T>
T SumOfSquares(const T* x, int64_t n, T mean) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

template <typename X, typename B, typename O>
void Forward(const ResidualNormForward& a, int64_t begin, int64_t end) {
  const int64_t width = a.width;
  std::vector<X> buffer(a.x.count > 1 || a.sum == nullptr ? width : 0);
  const X *weight = static_cast<const X*>(a.weight), *bias = static_cast<const X*>(a.bias);
  for (int64_t row = begin; row < end; ++row) {
    const X* x = Whole<X>(a.x, row, buffer.data());
    if (a.branch != nullptr) {
      const X f = a.scale == nullptr ? X(1) : static_cast<const X*>(a.scale)[row / a.rows_per_image];
      const B* branch = RowOf<B>(a.branch, row, width);
      X* sum = a.sum == nullptr ? buffer.data() : static_cast<X*>(a.sum) + row * width;
      if (a.earlier != nullptr) {
        const B* earlier = RowOf<B>(a.earlier, row, width);
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) sum[i] = x[i] + ValueOf<X>(earlier[i]);
        x = sum;
      }
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) sum[i] = x[i] + ValueOf<X>(branch[i]) * f;
      x = sum;
    }
    if (weight == nullptr) continue;
    const X mean = Sum(x, width) / static_cast<X>(width);
    const X variance = SumOfSquares(x, width, mean) / static_cast<X>(width);
    const X rstd = X(1) / std::sqrt(variance + static_cast<X>(a.epsilon));
    static_cast<X*>(a.mean)[row] = mean;
    static_cast<X*>(a.rstd)[row] = rstd;
    for (int64_t p = 0; p < a.normed.count; ++p) {
      O* out = PartOf<O>(a.normed, p, row);
      const int64_t from = p * a.normed.width;
#pragma omp simd
      for (int64_t i = 0; i < a.normed.width; ++i) {
        out[i] = RoundedTo<O>((x[from + i] - mean) * rstd * weight[from + i] + bias[from + i]);
      }
    }
  }
}

// Rows [begin, end); adds to columns, [3, width]; null where no sums are wanted.
template <typename X, typename B, typename O>
void Backward(const ResidualNormBackward& a, int64_t begin, int64_t end, X* columns) {
  const int64_t width = a.width;
  const bool norm = a.weight != nullptr && a.d_normed.count > 0;
  std::vector<X> buffer(a.sum.count > 1 ? width : 0), centred(width), d(width), both(a.d_more == nullptr ? 0 : width);
  std::vector<O> d_buffer(a.d_normed.count > 1 ? width : 0);
  const X* weight = static_cast<const X*>(a.weight);
  for (int64_t row = begin; row < end; ++row) {
    const X* d_sum = a.d_sum == nullptr ? nullptr : RowOf<X>(a.d_sum, row, width);
    if (a.d_more != nullptr) {
      const X* d_more = RowOf<X>(a.d_more, row, width);
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) both[i] = d_sum[i] + d_more[i];
      d_sum = both.data();
    }
    if (norm) {
      const X mean = static_cast<const X*>(a.mean)[row], rstd = static_cast<const X*>(a.rstd)[row];
      const X* x = Whole<X>(a.sum, row, buffer.data());
      const O* d_normed = Whole<O>(a.d_normed, row, d_buffer.data());
      X of_d = 0, of_product = 0;
#pragma omp simd reduction(+ : of_d, of_product)
      for (int64_t i = 0; i < width; ++i) {
        centred[i] = (x[i] - mean) * rstd;
        d[i] = ValueOf<X>(d_normed[i]) * weight[i];
        of_d += d[i];
        of_product += d[i] * centred[i];
      }
      of_d /= static_cast<X>(width);
      of_product /= static_cast<X>(width);
      if (a.weight_columns) {
        X *d_weight = columns, *d_bias = columns + width;
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) {
          const X dy = ValueOf<X>(d_normed[i]);
          d_weight[i] += dy * centred[i];
          d_bias[i] += dy;
        }
      }
      if (d_sum != nullptr) {
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) d[i] = (d[i] - of_d - centred[i] * of_product) * rstd + d_sum[i];
      } else {
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) d[i] = (d[i] - of_d - centred[i] * of_product) * rstd;
      }
    } else if (d_sum != nullptr) {
      std::copy_n(d_sum, width, d.data());
    } else {
      std::fill(d.begin(), d.end(), X(0));
    }
    for (int64_t p = 0; p < a.d_x.count; ++p) {
      std::copy_n(d.data() + p * a.d_x.width, a.d_x.width, PartOf<X>(a.d_x, p, row));
    }
    if (a.d_branch == nullptr && !a.branch_columns) continue;
    if (a.scale != nullptr) {
      const X f = static_cast<const X*>(a.scale)[row / a.rows_per_image];
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) d[i] *= f;
    }
    if (a.d_branch != nullptr) {
      B* d_branch = static_cast<B*>(a.d_branch) + row * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) d_branch[i] = RoundedTo<B>(d[i]);
    }
    if (a.branch_columns) {
      X* d_branch_bias = columns + 2 * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) d_branch_bias[i] += d[i];
    }
  }
}

template <typename X, typename B, typename O>
void BackwardInParts(const ResidualNormBackward& a) {
  const int64_t parts = std::min(kCpuColumnParts, a.rows), size = 3 * a.width;
  X* scratch = static_cast<X*>(a.scratch);
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      X* columns = a.weight_columns || a.branch_columns ? scratch + part * size : nullptr;
      if (columns != nullptr) std::fill_n(columns, size, X(0));
      Backward<X, B, O>(a, part * a.rows / parts, (part + 1) * a.rows / parts, columns);
    }
  });
  for (int64_t i = a.weight_columns ? 0 : 2 * a.width; i < (a.branch_columns ? size : 2 * a.width); ++i) {
    X sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += scratch[part * size + i];
    static_cast<X*>(a.columns)[i] = sum;
  }
}

// Calls f with a value of each of the three types; uint16_t is bfloat16.
template <typename F>
void Dispatch(Element type, Element branch, Element normed, const F& f) {
  if (type == Element::kDouble) {
    TEC_CHECK(branch == Element::kDouble && normed == Element::kDouble) << "float64 goes with float64 alone";
    return f(double(), double(), double());
  }
  TEC_CHECK(type == Element::kFloat && branch != Element::kHalf && normed != Element::kHalf)
      << "no float16 kernel on the CPU";
  const bool low_branch = branch == Element::kBFloat16, low_normed = normed == Element::kBFloat16;
  if (low_branch && low_normed) return f(float(), uint16_t(), uint16_t());
  if (low_branch) return f(float(), uint16_t(), float());
  if (low_normed) return f(float(), float(), uint16_t());
  f(float(), float(), float());
}

}  // namespace

void RunResidualNormForward(const ResidualNormForward& a) {
  Dispatch(a.type, a.branch_type, a.normed_type, [&](auto x, auto branch, auto normed) {
    at::parallel_for(0, a.rows, std::max<int64_t>(1, kGrain / a.width), [&](int64_t begin, int64_t end) {
      Forward<decltype(x), decltype(branch), decltype(normed)>(a, begin, end);
    });
  });
}

void RunResidualNormBackward(const ResidualNormBackward& a) {
  if (a.rows == 0) return;
  Dispatch(a.type, a.branch_type, a.normed_type, [&](auto x, auto branch, auto normed) {
    BackwardInParts<decltype(x), decltype(branch), decltype(normed)>(a);
  });
}

}  // namespace tec
