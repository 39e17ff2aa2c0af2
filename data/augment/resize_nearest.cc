#include "data/augment/resize_nearest.h"

#include <algorithm>
#include <vector>

#include "tec/base/logging.h"

namespace tec {
namespace {

// For each output the input whose pixel holds its centre. Summed up as Pillow does (ImagingScaleAffine): where a centre
// lies on the edge between two pixels, rounding decides, and a product would round otherwise.
std::vector<int> Places(int from, int to) {
  std::vector<int> places(to);
  const double step = static_cast<double>(from) / to;
  double at = step * 0.5;
  for (int& place : places) {
    place = std::min(static_cast<int>(at), from - 1);
    at += step;
  }
  return places;
}

}  // namespace

void ResizeNearest(const Image& source, int height, int width, uint8_t* out) {
  TEC_CHECK(height >= 1 && width >= 1 && !source.empty());
  const std::vector<int> rows = Places(source.height(), height), columns = Places(source.width(), width);
  const int channels = source.channels();
  for (const int y : rows) {
    const uint8_t* row = source.row(y);
    for (const int x : columns) out = std::copy_n(row + ptrdiff_t{channels} * x, channels, out);
  }
}

}  // namespace tec
