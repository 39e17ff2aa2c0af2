// The CPU half of column_sum_kernels.h.

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "ATen/ops/from_blob.h"
#include "ATen/ops/gelu_backward.h"
#include "ATen/record_function.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/bfloat16_bits.h"
#include "tec/nn/column_sum_kernels.h"
#include "tec/nn/parallel.h"

namespace tec {
namespace {

// What elements are summed in; bfloat16 is uint16_t.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

constexpr char kNoHalf[] = "no float16 kernel on the CPU";

// Bytes of a few rows that stay in the second cache between being written and being summed.
constexpr int64_t kCachedBytes = 128 * 1024;

template <typename T>
void AddRow(const T* row, int64_t width, Wide<T>* columns) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) columns[i] += ValueOf<Wide<T>>(row[i]);
}

// Calls body(begin, end, columns) for parts of the rows; columns null where none are wanted, else zero and summed into
// `columns` afterwards.
template <typename A, typename F>
void InParts(int64_t rows, int64_t width, void* scratch, void* columns, const F& body) {
  const int64_t parts = std::min(kCpuColumnParts, rows);
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      A* sums = scratch == nullptr ? nullptr : static_cast<A*>(scratch) + part * width;
      if (sums != nullptr) std::fill_n(sums, width, A(0));
      body(part * rows / parts, (part + 1) * rows / parts, sums);
    }
  });
  if (columns == nullptr) return;
  A* out = static_cast<A*>(columns);
  std::fill_n(out, width, A(0));
  for (int64_t part = 0; part < parts; ++part) AddRow(static_cast<A*>(scratch) + part * width, width, out);
}

// LibTorch's own loop, whose erf is vectorised, over a few rows at a time: their gradients are summed while they are
// in a cache.
template <typename T>
void Gelu(const GeluBackward& a, at::ScalarType type) {
  const int64_t few = std::max<int64_t>(1, kCachedBytes / (a.width * static_cast<int64_t>(sizeof(T))));
  const auto rows_at = [&](const void* data, int64_t row, int64_t count) {
    return at::from_blob(static_cast<T*>(const_cast<void*>(data)) + row * a.width, {count, a.width}, type);
  };
  InParts<Wide<T>>(a.rows, a.width, a.scratch, a.columns, [&](int64_t begin, int64_t end, Wide<T>* columns) {
    // Of this thread, which need not be the caller's.
    const c10::NoGradGuard no_grad;
    const at::DisableRecordFunctionGuard quiet;
    for (int64_t row = begin; row < end; row += few) {
      const int64_t count = std::min(few, end - row);
      at::Tensor d_h = rows_at(a.d_h, row, count);
      at::gelu_backward_out(d_h, rows_at(a.d_out, row, count), rows_at(a.h, row, count));
      if (columns == nullptr) continue;
      for (int64_t r = row; r < row + count; ++r) AddRow(static_cast<const T*>(a.d_h) + r * a.width, a.width, columns);
    }
  });
}

// Of each bfloat16 value, by its bits: GELU's derivative, from float64. Most of a layer's values lie in a few KiB of
// it.
const std::vector<float>& GeluSlopes() {
  static const auto& slopes = *[] {
    auto* table = new std::vector<float>(1 << 16);
    for (size_t bits = 0; bits < table->size(); ++bits) {
      const double x = FloatOfBits(static_cast<uint16_t>(bits));
      // erfc: 1 + erf would lose the digits of a small one. At infinity no number, as everywhere else.
      const double below = 0.5 * std::erfc(-x * M_SQRT1_2),
                   density = std::exp(-0.5 * x * x) * 0.5 * M_SQRT1_2 * M_2_SQRTPI;
      (*table)[bits] = static_cast<float>(below + x * density);
    }
    return table;
  }();
  return slopes;
}

// A look into the table, a product and a rounding: a quarter of a nanosecond an element, little above what reading and
// writing takes. LibTorch's form makes a primitive of oneDNN at every call.
void GeluOfBFloat16(const GeluBackward& a) {
  const float* slopes = GeluSlopes().data();
  InParts<float>(a.rows, a.width, a.scratch, a.columns, [&](int64_t begin, int64_t end, float* columns) {
    for (int64_t row = begin; row < end; ++row) {
      const uint16_t* h = static_cast<const uint16_t*>(a.h) + row * a.width;
      const uint16_t* d_out = static_cast<const uint16_t*>(a.d_out) + row * a.width;
      uint16_t* d_h = static_cast<uint16_t*>(a.d_h) + row * a.width;
      if (columns == nullptr) {
#pragma omp simd
        for (int64_t i = 0; i < a.width; ++i) d_h[i] = BitsOfFloat(slopes[h[i]] * FloatOfBits(d_out[i]));
        continue;
      }
#pragma omp simd
      for (int64_t i = 0; i < a.width; ++i) {
        d_h[i] = BitsOfFloat(slopes[h[i]] * FloatOfBits(d_out[i]));
        columns[i] += FloatOfBits(d_h[i]);
      }
    }
  });
}

template <typename T>
void Join(const JoinHeads& a) {
  const int64_t part_width = a.heads * a.head_width, width = 3 * part_width;
  InParts<Wide<T>>(a.images * a.tokens, width, a.scratch, a.columns, [&](int64_t begin, int64_t end, Wide<T>* columns) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / a.tokens, t = row % a.tokens;
      T* out = static_cast<T*>(a.d_x) + row * width;
      for (int64_t part = 0; part < 3; ++part) {
        T* to = out + part * part_width;
        if (a.part[part] == nullptr) {
          std::fill_n(to, part_width, T(0));
          continue;
        }
        const T* from = static_cast<const T*>(a.part[part]) + n * a.image_stride[part] + t * a.token_stride[part];
        for (int64_t h = 0; h < a.heads; ++h) {
          std::copy_n(from + h * a.head_stride[part], a.head_width, to + h * a.head_width);
        }
      }
      if (columns != nullptr) AddRow(out, width, columns);
    }
  });
}

}  // namespace

void RunGeluBackward(const GeluBackward& a) {
  TEC_CHECK(a.type != Element::kHalf) << kNoHalf;
  if (a.type == Element::kDouble) return Gelu<double>(a, at::kDouble);
  if (a.type == Element::kFloat) return Gelu<float>(a, at::kFloat);
  GeluOfBFloat16(a);
}

void RunJoinHeads(const JoinHeads& a) {
  TEC_CHECK(a.type != Element::kHalf) << kNoHalf;
  if (a.type == Element::kDouble) return Join<double>(a);
  if (a.type == Element::kFloat) return Join<float>(a);
  Join<uint16_t>(a);
}

}  // namespace tec
