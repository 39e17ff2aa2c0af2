#include "data/augment/augment_op_reference.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "tec/base/logging.h"

namespace tec {
namespace {

uint8_t Clip(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

// f(y, x, c) at every place.
Image Make(const Image& like, const std::function<uint8_t(int y, int x, int c)>& f) {
  Image result(like.height(), like.width());
  for (int y = 0; y < like.height(); ++y) {
    for (int x = 0; x < like.width(); ++x) {
      for (int c = 0; c < 3; ++c) result.row(y)[3 * x + c] = f(y, x, c);
    }
  }
  return result;
}

Image MapValues(const Image& image, const std::function<uint8_t(int value)>& f) {
  return Make(image, [&](int y, int x, int c) { return f(image.at(y, x, c)); });
}

// How often each value occurs in a channel.
std::vector<int> Histogram(const Image& image, int c) {
  std::vector<int> counts(256, 0);
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) ++counts[image.at(y, x, c)];
  }
  return counts;
}

// ImageOps.autocontrast's table of a channel.
std::vector<uint8_t> AutoContrastTable(const std::vector<int>& counts) {
  int low = 0, high = 255;
  while (low < 255 && counts[low] == 0) ++low;
  while (high > 0 && counts[high] == 0) --high;
  std::vector<uint8_t> table;
  for (int v = 0; v < 256; ++v) {
    const double scale = 255.0 / (high - low), offset = -low * scale;
    table.push_back(high <= low ? Clip(v) : Clip(static_cast<int>(v * scale + offset)));
  }
  return table;
}

// ImageOps.equalize's.
std::vector<uint8_t> EqualizeTable(const std::vector<int>& counts) {
  std::vector<int> present;
  int total = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    present.push_back(count);
    total += count;
  }
  const int step = (total - present.back()) / 255;
  std::vector<uint8_t> table;
  int n = step / 2;
  for (int v = 0; v < 256; ++v) {
    table.push_back(step == 0 || present.size() == 1 ? Clip(v) : Clip(n / step));
    n += counts[v];
  }
  return table;
}

Image LookUp(const Image& image, std::vector<uint8_t> (*table_of)(const std::vector<int>&)) {
  std::vector<std::vector<uint8_t>> tables;
  for (int c = 0; c < 3; ++c) tables.push_back(table_of(Histogram(image, c)));
  return Make(image, [&](int y, int x, int c) { return tables[c][image.at(y, x, c)]; });
}

// convert("L").
int Grey(const Image& image, int y, int x) {
  return (image.at(y, x, 0) * 19595 + image.at(y, x, 1) * 38470 + image.at(y, x, 2) * 7471 + (1 << 15)) >> 16;
}

// Image.blend, which computes in float32: `degenerate` at factor 0, the image at 1.
Image Blend(const Image& image, const std::function<int(int y, int x, int c)>& degenerate, double factor) {
  const float alpha = static_cast<float>(factor);
  return Make(image, [&](int y, int x, int c) -> uint8_t {
    const int from = degenerate(y, x, c), to = image.at(y, x, c);
    const float value = static_cast<float>(from) + alpha * static_cast<float>(to - from);
    if (value <= 0.0F) return 0;
    if (value >= 255.0F) return 255;
    return static_cast<uint8_t>(value);
  });
}

// ImageEnhance.Contrast's degenerate: the mean grey value, rounded.
int MeanGrey(const Image& image) {
  int64_t sum = 0;
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) sum += Grey(image, y, x);
  }
  return static_cast<int>(static_cast<double>(sum) / (int64_t{image.height()} * image.width()) + 0.5);
}

// ImageFilter.SMOOTH, summed in float32; the border stays, and so does an image with nothing else.
int Smooth(const Image& image, int y, int x, int c) {
  if (y == 0 || x == 0 || y == image.height() - 1 || x == image.width() - 1) return image.at(y, x, c);
  float sum = 0.5F;
  for (const int row : {y + 1, y, y - 1}) {
    const float middle = (row == y ? 5.0F : 1.0F) / 13, side = 1.0F / 13;
    sum += image.at(row, x - 1, c) * side + image.at(row, x, c) * middle + image.at(row, x + 1, c) * side;
  }
  return Clip(static_cast<int>(sum));
}

}  // namespace

Image AugmentOpReference(const Image& image, AugmentOp op, double argument) {
  switch (op) {
    case AugmentOp::kAutoContrast:
      return LookUp(image, AutoContrastTable);
    case AugmentOp::kEqualize:
      return LookUp(image, EqualizeTable);
    case AugmentOp::kInvert:
      return MapValues(image, [](int v) { return Clip(255 - v); });
    case AugmentOp::kPosterize:
      return MapValues(image, [&](int v) { return Clip(v & ~((1 << (8 - static_cast<int>(argument))) - 1)); });
    case AugmentOp::kSolarize:
      return MapValues(image, [&](int v) { return Clip(v < static_cast<int>(argument) ? v : 255 - v); });
    case AugmentOp::kSolarizeAdd:
      return MapValues(image, [&](int v) { return Clip(v < 128 ? v + static_cast<int>(argument) : v); });
    case AugmentOp::kColor:
      return Blend(
          image, [&](int y, int x, int) { return Grey(image, y, x); }, argument);
    case AugmentOp::kContrast: {
      const int mean = MeanGrey(image);
      return Blend(
          image, [&](int, int, int) { return mean; }, argument);
    }
    case AugmentOp::kBrightness:
      return Blend(
          image, [](int, int, int) { return 0; }, argument);
    case AugmentOp::kSharpness:
      return Blend(
          image, [&](int y, int x, int c) { return Smooth(image, y, x, c); }, argument);
    default:
      TEC_CHECK(false) << "no plain version of " << AugmentOpName(op);
      return Image();
  }
}

}  // namespace tec
