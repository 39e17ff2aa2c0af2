// Two passes with weights of 22 fractional bits, each rounded to bytes: first along the rows, then along the columns.
// The order of floating-point operations in the weights is Pillow's, so that they round alike.

#include "data/augment/resize.h"

#ifdef __SSE4_1__
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tec/base/logging.h"

namespace tec {
namespace {

// A sum of weights is 2^22; with negative lobes the sum of their magnitudes stays below 1.4 * 2^22, so 255 times that
// fits into 31 bits.
constexpr int kFractionBits = 22;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

uint8_t ToByte(int32_t value) { return static_cast<uint8_t>(std::clamp(value >> kFractionBits, 0, 255)); }

// Keys' cubic with a = -1/2, support [-2, 2].
double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// Outputs [begin, begin + count_out) of `input` samples shrunk or stretched to `output`.
void FillAxis(int input, int64_t output, int64_t begin, int count_out, std::vector<double>* line, ResizeAxis* axis) {
  const double scale = static_cast<double>(input) / output;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 2.0 * filter_scale;
  const double inverse = 1.0 / filter_scale;
  axis->taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  axis->first.resize(count_out);
  axis->count.resize(count_out);
  axis->weights.resize(static_cast<size_t>(count_out) * axis->taps);
  line->resize(axis->taps);
  for (int i = 0; i < count_out; ++i) {
    const double centre = (begin + i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int count = std::min(input, static_cast<int>(centre + support + 0.5)) - first;
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      (*line)[k] = Cubic((k + first - centre + 0.5) * inverse);
      sum += (*line)[k];
    }
    int32_t* weights = &axis->weights[static_cast<size_t>(i) * axis->taps];
    for (int k = 0; k < count; ++k) {
      const double weight = (*line)[k] / sum * (1 << kFractionBits);
      weights[k] = static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    axis->first[i] = first;
    axis->count[i] = count;
  }
}

// sums[c] += the sum over k of weights[k] * pixel[3 * k + c], of which c < 3 matter. Reads one byte beyond the last
// pixel: four bytes fill a vector register.
inline void AddTaps(const uint8_t* pixel, const int32_t* weights, int count, int32_t sums[4]) {
#ifdef __SSE4_1__
  __m128i sum = _mm_loadu_si128(reinterpret_cast<const __m128i*>(sums));
  for (int k = 0; k < count; ++k, pixel += 3) {
    int32_t bytes;
    std::memcpy(&bytes, pixel, sizeof(bytes));
    const __m128i lanes = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes));
    sum = _mm_add_epi32(sum, _mm_mullo_epi32(lanes, _mm_set1_epi32(weights[k])));
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), sum);
#else
  for (int k = 0; k < count; ++k, pixel += 3) {
    for (int c = 0; c < 4; ++c) sums[c] += weights[k] * pixel[c];
  }
#endif
}

// One row of the horizontal pass. `in` has the input's pixels [origin, end); the byte after the last may not be ours,
// so outputs that reach it go the plain way.
void ResizeRow(const uint8_t* in, int origin, int end, const ResizeAxis& axis, int out_width, uint8_t* out) {
  for (int x = 0; x < out_width; ++x, out += 3) {
    const int32_t* weights = &axis.weights[static_cast<size_t>(x) * axis.taps];
    const int count = axis.count[x];
    const uint8_t* pixel = in + 3 * (axis.first[x] - origin);
    int32_t sums[4] = {kHalf, kHalf, kHalf, kHalf};
    if (axis.first[x] + count < end) {
      AddTaps(pixel, weights, count, sums);
    } else {
      for (int k = 0; k < count; ++k, pixel += 3) {
        for (int c = 0; c < 3; ++c) sums[c] += weights[k] * pixel[c];
      }
    }
    for (int c = 0; c < 3; ++c) out[c] = ToByte(sums[c]);
  }
}

// One output row of the vertical pass: the weighted sum of `count` rows of `bytes` bytes, `stride` apart.
void ResizeColumn(const uint8_t* in, ptrdiff_t stride, const int32_t* weights, int count, int bytes, uint8_t* out) {
  constexpr int kBlock = 64;  // Sums that stay in registers or the nearest cache.
  for (int begin = 0; begin < bytes; begin += kBlock) {
    int32_t sums[kBlock];
    for (int i = 0; i < kBlock; ++i) sums[i] = kHalf;
    const uint8_t* column = in + begin;
    if (begin + kBlock <= bytes) {
      for (int k = 0; k < count; ++k, column += stride) {
        for (int i = 0; i < kBlock; ++i) sums[i] += weights[k] * column[i];
      }
      for (int i = 0; i < kBlock; ++i) out[begin + i] = ToByte(sums[i]);
    } else {
      const int rest = bytes - begin;
      for (int k = 0; k < count; ++k, column += stride) {
        for (int i = 0; i < rest; ++i) sums[i] += weights[k] * column[i];
      }
      for (int i = 0; i < rest; ++i) out[begin + i] = ToByte(sums[i]);
    }
  }
}

void FlipRow(uint8_t* row, int width) {
  for (int left = 0, right = width - 1; left < right; ++left, --right) {
    for (int c = 0; c < 3; ++c) std::swap(row[3 * left + c], row[3 * right + c]);
  }
}

// Cuts rows [top, top + rows) and columns [left, left + columns) out of `box` of `source` resized to height x width.
struct Window {
  int64_t height, width, top, left;
  int rows, columns;
};

void ResizeWindow(const Image& source, const Box& box, const Window& window, ResizeScratch* scratch, uint8_t* out) {
  TEC_CHECK(box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
            box.top + box.height <= source.height() && box.left + box.width <= source.width())
      << "box [" << box.top << ", " << box.left << ", " << box.height << ", " << box.width << "] in " << source.height()
      << " x " << source.width();
  // An axis that keeps its size would be multiplied by ones: its pass is left out. Input rows [top, bottom) and columns
  // [left, right) of the box are all that is needed.
  const ResizeAxis& horizontal = scratch->horizontal;
  const ResizeAxis& vertical = scratch->vertical;
  const bool resize_width = box.width != window.width, resize_height = box.height != window.height;
  int left = static_cast<int>(window.left), right = left + window.columns;
  int top = static_cast<int>(window.top), bottom = top + window.rows;
  if (resize_width) {
    FillAxis(box.width, window.width, window.left, window.columns, &scratch->line, &scratch->horizontal);
    left = horizontal.first.front();
    right = horizontal.first.back() + horizontal.count.back();
  }
  if (resize_height) {
    FillAxis(box.height, window.height, window.top, window.rows, &scratch->line, &scratch->vertical);
    top = vertical.first.front();
    bottom = vertical.first.back() + vertical.count.back();
  }

  const auto horizontal_pass = [&](const uint8_t* in, ptrdiff_t in_stride, int rows, uint8_t* result) {
    for (int y = 0; y < rows; ++y) {
      ResizeRow(in + y * in_stride, left, right, horizontal, window.columns,
                result + ptrdiff_t{3} * window.columns * y);
    }
  };
  const auto vertical_pass = [&](const uint8_t* in, ptrdiff_t in_stride, int columns, uint8_t* result) {
    for (int y = 0; y < window.rows; ++y) {
      ResizeColumn(in + (vertical.first[y] - top) * in_stride, in_stride,
                   &vertical.weights[static_cast<size_t>(y) * vertical.taps], vertical.count[y], 3 * columns,
                   result + ptrdiff_t{3} * columns * y);
    }
  };
  const uint8_t* in = source.row(box.top + top) + ptrdiff_t{3} * (box.left + left);
  if (resize_width && resize_height) {
    // Vertically first where the height shrinks by more than twice as many pixels as the width.
    const int64_t fewer_rows = box.height - window.height, fewer_columns = box.width - window.width;
    const bool vertical_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
    const int rows = vertical_first ? window.rows : bottom - top;
    const int columns = vertical_first ? right - left : window.columns;
    scratch->pixels.resize(size_t{3} * rows * columns);
    if (vertical_first) {
      vertical_pass(in, source.stride(), columns, scratch->pixels.data());
      horizontal_pass(scratch->pixels.data(), ptrdiff_t{3} * columns, rows, out);
    } else {
      horizontal_pass(in, source.stride(), rows, scratch->pixels.data());
      vertical_pass(scratch->pixels.data(), ptrdiff_t{3} * columns, columns, out);
    }
  } else if (resize_width) {
    horizontal_pass(in, source.stride(), window.rows, out);
  } else if (resize_height) {
    vertical_pass(in, source.stride(), window.columns, out);
  } else {
    for (int y = 0; y < window.rows; ++y) {
      std::memcpy(out + ptrdiff_t{3} * window.columns * y, in + y * source.stride(), size_t{3} * window.columns);
    }
  }
}

}  // namespace

void ResizeBicubic(const Image& source, const Box& box, int height, int width, bool flip, ResizeScratch* scratch,
                   uint8_t* out) {
  TEC_CHECK(height >= 1 && width >= 1) << height << " x " << width;
  ResizeWindow(source, box, Window{height, width, 0, 0, height, width}, scratch, out);
  if (flip) {
    for (int y = 0; y < height; ++y) FlipRow(out + ptrdiff_t{3} * width * y, width);
  }
}

EvalGeometry EvalCropGeometry(int height, int width, int size) {
  TEC_CHECK(height >= 1 && width >= 1 && size >= 1) << height << " x " << width << " to " << size;
  const int64_t short_side = size <= 224 ? static_cast<int64_t>(size / 0.875) : size;
  const int64_t in_short = std::min(height, width), in_long = std::max(height, width);
  // Python's int(short_side * long / short): the product is exact, the quotient rounded to double.
  const auto long_side =
      static_cast<int64_t>(static_cast<double>(short_side * in_long) / static_cast<double>(in_short));
  EvalGeometry geometry;
  geometry.height = height > width ? long_side : short_side;
  geometry.width = height > width ? short_side : long_side;
  // Python's int(round(x / 2)): halves go to the even neighbour.
  geometry.top = static_cast<int64_t>(std::nearbyint((geometry.height - size) / 2.0));
  geometry.left = static_cast<int64_t>(std::nearbyint((geometry.width - size) / 2.0));
  return geometry;
}

void EvalCrop(const Image& source, int size, ResizeScratch* scratch, uint8_t* out) {
  const EvalGeometry g = EvalCropGeometry(source.height(), source.width(), size);
  ResizeWindow(source, Box{0, 0, source.height(), source.width()}, Window{g.height, g.width, g.top, g.left, size, size},
               scratch, out);
}

}  // namespace tec
