#include "data/augment/resize_reference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace tec {
namespace {

// Keys' cubic with a = -1/2, support [-2, 2].
double Cubic(double x) {
  x = std::fabs(x);
  if (x < 1) return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

double Triangle(double x) {
  x = std::fabs(x);
  return x < 1 ? 1 - x : 0;
}

// Output sample `index` of a line of `input` samples shrunk or stretched to `output`.
uint8_t Sample(ResizeFilter filter, const std::vector<uint8_t>& line, int output, int index) {
  const int input = line.size();
  const double scale = static_cast<double>(input) / output;
  const double stretch = std::max(scale, 1.0);  // Shrinking widens the filter: that is the antialiasing.
  const double centre = (index + 0.5) * scale;
  const double radius = filter == ResizeFilter::kBicubic ? 2 : 1;
  const int first = std::max(0, static_cast<int>(centre - radius * stretch + 0.5));
  const int last = std::min(input, static_cast<int>(centre + radius * stretch + 0.5));
  std::vector<double> weights;
  double sum = 0;
  for (int i = first; i < last; ++i) {
    const double x = (i - centre + 0.5) * (1.0 / stretch);
    weights.push_back(filter == ResizeFilter::kBicubic ? Cubic(x) : Triangle(x));
    sum += weights.back();
  }
  int64_t value = 1 << 21;  // One half.
  for (int i = first; i < last; ++i) {
    const double weight = weights[i - first] / sum * (1 << 22);
    value += static_cast<int>(weight < 0 ? weight - 0.5 : weight + 0.5) * int64_t{line[i]};
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(value >> 22, 0, 255));
}

Image ResizeWidth(ResizeFilter filter, const Image& image, int width) {
  Image result(image.height(), width, image.channels());
  for (int c = 0; c < image.channels(); ++c) {
    for (int y = 0; y < image.height(); ++y) {
      std::vector<uint8_t> line;
      for (int x = 0; x < image.width(); ++x) line.push_back(image.at(y, x, c));
      for (int x = 0; x < width; ++x) result.row(y)[image.channels() * x + c] = Sample(filter, line, width, x);
    }
  }
  return result;
}

Image Transpose(const Image& image) {
  Image result(image.width(), image.height(), image.channels());
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) {
      for (int c = 0; c < image.channels(); ++c) result.row(x)[image.channels() * y + c] = image.at(y, x, c);
    }
  }
  return result;
}

Image ResizeHeight(ResizeFilter filter, const Image& image, int height) {
  return Transpose(ResizeWidth(filter, Transpose(image), height));
}

}  // namespace

Image ResizeReference(ResizeFilter filter, const Image& source, const Box& box, int height, int width, bool flip) {
  Image crop(box.height, box.width, source.channels());
  for (int y = 0; y < box.height; ++y) {
    for (int x = 0; x < box.width; ++x) {
      for (int c = 0; c < source.channels(); ++c) {
        crop.row(y)[source.channels() * x + c] = source.at(box.top + y, box.left + x, c);
      }
    }
  }
  const bool shrinks_mostly_in_height =
      box.height > height && box.height - height > 2 * (box.width - width);  // Pillow 13's rule.
  Image resized = shrinks_mostly_in_height ? ResizeWidth(filter, ResizeHeight(filter, crop, height), width)
                                           : ResizeHeight(filter, ResizeWidth(filter, crop, width), height);
  if (flip) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width / 2; ++x) {
        uint8_t* left = resized.row(y) + source.channels() * x;
        std::swap_ranges(left, left + source.channels(), resized.row(y) + source.channels() * (width - 1 - x));
      }
    }
  }
  return resized;
}

}  // namespace tec
