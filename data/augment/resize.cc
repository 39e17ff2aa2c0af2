// Two passes with weights of 22 fractional bits, each rounded to bytes: first along the rows, then along the columns
// (or the other way round, where Pillow does). The order of floating-point operations in the weights is Pillow's, so
// that they round alike.

#include "data/augment/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tec/base/logging.h"

namespace tec {
namespace {

// Keys' cubic with a = -1/2, support [-2, 2].
double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// A triangle, support [-1, 1].
double Triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

double Radius(ResizeFilter filter) { return filter == ResizeFilter::kBicubic ? 2.0 : 1.0; }

// The inputs [begin, end) that output `index` is made of; `centre`, where it lies among them.
struct Support {
  double centre;
  int begin, end;
};

Support SupportOf(ResizeFilter filter, int64_t index, int input, int64_t output) {
  const double scale = static_cast<double>(input) / output;
  const double support = Radius(filter) * std::max(scale, 1.0);
  const double centre = (index + 0.5) * scale;
  return {centre, std::max(0, static_cast<int>(centre - support + 0.5)),
          std::min(input, static_cast<int>(centre + support + 0.5))};
}

// The part of an axis of `input` samples, shrunk or stretched to `output`, that outputs [begin, begin + count) need.
// [begin, begin + count) itself where nothing is to be done.
struct Span {
  int begin, end;
};

Span Needed(ResizeFilter filter, int input, int64_t output, int64_t begin, int count) {
  if (input == output) return {static_cast<int>(begin), static_cast<int>(begin + count)};
  return {SupportOf(filter, begin, input, output).begin, SupportOf(filter, begin + count - 1, input, output).end};
}

// Outputs [begin, begin + count) of `input` samples shrunk or stretched to `output`; the inputs are counted from
// `origin`. Backwards with `flip`.
void FillAxis(ResizeFilter filter, int input, int64_t output, int64_t begin, int count, int origin, bool flip,
              std::vector<double>* line, ResizeAxis* axis) {
  const double filter_scale = std::max(static_cast<double>(input) / output, 1.0);
  const double inverse = 1.0 / filter_scale;
  const int taps = static_cast<int>(std::ceil(Radius(filter) * filter_scale)) * 2 + 1;
  axis->pairs = (taps + 3) / 4 * 2;
  axis->first.resize(count);
  axis->count.resize(count);
  axis->low.assign(static_cast<size_t>(count) * axis->pairs, 0);
  axis->high.assign(static_cast<size_t>(count) * axis->pairs, 0);
  line->resize(taps);
  for (int i = 0; i < count; ++i) {
    const Support support = SupportOf(filter, begin + i, input, output);
    const int used = support.end - support.begin;
    double sum = 0;
    for (int k = 0; k < used; ++k) {
      const double x = (k + support.begin - support.centre + 0.5) * inverse;
      (*line)[k] = filter == ResizeFilter::kBicubic ? Cubic(x) : Triangle(x);
      sum += (*line)[k];
    }
    const int slot = flip ? count - 1 - i : i;
    uint32_t* low = &axis->low[static_cast<size_t>(slot) * axis->pairs];
    uint32_t* high = &axis->high[static_cast<size_t>(slot) * axis->pairs];
    for (int k = 0; k < used; ++k) {
      const double scaled = (*line)[k] / sum * (1 << kResizeFractionBits);
      const auto weight = static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
      const int shift = k % 2 * 16;
      low[k / 2] |= static_cast<uint32_t>(weight & ((1 << ResizeAxis::kLowBits) - 1)) << shift;
      high[k / 2] |= static_cast<uint32_t>(static_cast<uint16_t>(weight >> ResizeAxis::kLowBits)) << shift;
    }
    axis->first[slot] = support.begin - origin;
    axis->count[slot] = used;
  }
}

void FlipRow(uint8_t* row, int width, int channels) {
  for (int left = 0, right = width - 1; left < right; ++left, --right) {
    std::swap_ranges(row + ptrdiff_t{channels} * left, row + ptrdiff_t{channels} * (left + 1),
                     row + ptrdiff_t{channels} * right);
  }
}

// Cuts rows [top, top + rows) and columns [left, left + columns) out of `box` resized to height x width.
struct Window {
  int64_t height, width, top, left;
  int rows, columns;
};

// The part of `box` that `window` needs, in the coordinates that `box` is in.
Box NeededPart(ResizeFilter filter, const Box& box, const Window& window) {
  const Span rows = Needed(filter, box.height, window.height, window.top, window.rows);
  const Span columns = Needed(filter, box.width, window.width, window.left, window.columns);
  return Box{box.top + rows.begin, box.left + columns.begin, rows.end - rows.begin, columns.end - columns.begin};
}

// `origin`: the pixels are those of an image from this row and column on, in which `box` lies.
void ResizeWindow(ResizeFilter filter, const Image& pixels, int origin_top, int origin_left, const Box& box,
                  const Window& window, bool flip, ResizeScratch* scratch, uint8_t* out) {
  const Box needed = NeededPart(filter, box, window);
  const Box present{needed.top - origin_top, needed.left - origin_left, needed.height, needed.width};
  TEC_CHECK(box.height >= 1 && box.width >= 1 && present.FitsInto(pixels.height(), pixels.width()))
      << "box [" << box.top << ", " << box.left << ", " << box.height << ", " << box.width << "] in " << pixels.height()
      << " x " << pixels.width() << " pixels from [" << origin_top << ", " << origin_left << "]";
  // An axis that keeps its size would be multiplied by ones: its pass is left out.
  const bool resize_width = box.width != window.width, resize_height = box.height != window.height;
  const ResizeAxis& horizontal = scratch->horizontal;
  const ResizeAxis& vertical = scratch->vertical;
  if (resize_width) {
    FillAxis(filter, box.width, window.width, window.left, window.columns, needed.left - box.left, flip, &scratch->line,
             &scratch->horizontal);
  }
  if (resize_height) {
    FillAxis(filter, box.height, window.height, window.top, window.rows, needed.top - box.top, /*flip=*/false,
             &scratch->line, &scratch->vertical);
  }

  const int channels = pixels.channels();
  const uint8_t* in = pixels.row(present.top) + ptrdiff_t{channels} * present.left;
  const ptrdiff_t in_stride = pixels.stride(), out_stride = ptrdiff_t{channels} * window.columns;
  if (resize_width && resize_height) {
    // Vertically first where the height shrinks by more than twice as many pixels as the width.
    const int64_t fewer_rows = box.height - window.height, fewer_columns = box.width - window.width;
    const bool vertical_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
    const int rows = vertical_first ? window.rows : needed.height;
    const int columns = vertical_first ? needed.width : window.columns;
    const ptrdiff_t stride = ptrdiff_t{channels} * columns;
    scratch->pixels.resize(static_cast<size_t>(stride) * rows + Image::kReadableBytesBeyond);
    uint8_t* between = scratch->pixels.data();
    if (vertical_first) {
      ResizeColumns(in, in_stride, stride, vertical, between);
      ResizeRows(between, stride, rows, channels, horizontal, out);
    } else {
      ResizeRows(in, in_stride, rows, channels, horizontal, between);
      ResizeColumns(between, stride, stride, vertical, out);
    }
  } else if (resize_width) {
    ResizeRows(in, in_stride, window.rows, channels, horizontal, out);
  } else if (resize_height) {
    ResizeColumns(in, in_stride, channels * window.columns, vertical, out);
  } else {
    for (int y = 0; y < window.rows; ++y) std::memcpy(out + y * out_stride, in + y * in_stride, out_stride);
  }
  if (flip && !resize_width) {
    for (int y = 0; y < window.rows; ++y) FlipRow(out + y * out_stride, window.columns, channels);
  }
}

Window EvalWindow(int height, int width, int size) {
  const EvalGeometry g = EvalCropGeometry(height, width, size);
  return Window{g.height, g.width, g.top, g.left, size, size};
}

}  // namespace

void ResizeBicubic(const Image& source, const Box& box, int height, int width, bool flip, ResizeScratch* scratch,
                   uint8_t* out) {
  TEC_CHECK(height >= 1 && width >= 1) << height << " x " << width;
  ResizeWindow(ResizeFilter::kBicubic, source, 0, 0, box, Window{height, width, 0, 0, height, width}, flip, scratch,
               out);
}

void ResizeBicubic(const ImageRegion& source, const Box& box, int height, int width, bool flip, ResizeScratch* scratch,
                   uint8_t* out) {
  ResizeBicubic(source.pixels, source.InPixels(box), height, width, flip, scratch, out);
}

void Resize(ResizeFilter filter, const ImageRegion& source, const Box& box, int height, int width, bool flip,
            ResizeScratch* scratch, uint8_t* out) {
  TEC_CHECK(height >= 1 && width >= 1) << height << " x " << width;
  ResizeWindow(filter, source.pixels, 0, 0, source.InPixels(box), Window{height, width, 0, 0, height, width}, flip,
               scratch, out);
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

Box EvalCropSource(int height, int width, int size) {
  return NeededPart(ResizeFilter::kBicubic, Box{0, 0, height, width}, EvalWindow(height, width, size));
}

void EvalCrop(const Image& source, int size, ResizeScratch* scratch, uint8_t* out) {
  ResizeWindow(ResizeFilter::kBicubic, source, 0, 0, Box{0, 0, source.height(), source.width()},
               EvalWindow(source.height(), source.width(), size), /*flip=*/false, scratch, out);
}

void EvalCrop(const ImageRegion& source, int size, ResizeScratch* scratch, uint8_t* out) {
  ResizeWindow(ResizeFilter::kBicubic, source.pixels, source.top, source.left, Box{0, 0, source.height, source.width},
               EvalWindow(source.height, source.width, size), /*flip=*/false, scratch, out);
}

}  // namespace tec
