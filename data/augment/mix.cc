#include "data/augment/mix.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// Gamma(shape, 1), shape >= 1 (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000).
double DrawGamma(double shape, RandomStream& stream) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = stream.Normal(), root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root, u = 1 - stream.NextDouble();
    if (std::log(u) < 0.5 * x * x + d * (1 - v + std::log(v))) return d * v;
  }
}

// Whole pixels between the two shares of a side: [first, second).
std::pair<int, int> SideRange(const std::pair<double, double>& minmax, int side) {
  return {static_cast<int>(side * minmax.first), static_cast<int>(side * minmax.second)};
}

// The part of [centre - cut / 2, centre + cut / 2) that lies in [0, side).
std::pair<int, int> Clipped(int centre, int cut, int side) {
  return {std::clamp(centre - cut / 2, 0, side), std::clamp(centre + cut / 2, 0, side)};
}

Box DrawBox(double lambda, int height, int width, RandomStream& stream) {
  const double ratio = std::sqrt(1 - lambda);
  const auto cut_height = static_cast<int>(height * ratio), cut_width = static_cast<int>(width * ratio);
  const auto [top, bottom] = Clipped(static_cast<int>(stream.UniformInt(height)), cut_height, height);
  const auto [left, right] = Clipped(static_cast<int>(stream.UniformInt(width)), cut_width, width);
  return Box{top, left, bottom - top, right - left};
}

Box DrawBox(const std::pair<double, double>& minmax, int height, int width, RandomStream& stream) {
  const auto side = [&](int whole) {
    const auto [least, most] = SideRange(minmax, whole);
    return least + static_cast<int>(stream.UniformInt(most - least));
  };
  Box box;
  box.height = side(height);
  box.width = side(width);
  box.top = static_cast<int>(stream.UniformInt(height - box.height));
  box.left = static_cast<int>(stream.UniformInt(width - box.width));
  return box;
}

Mix DrawMix(const MixOptions& options, int height, int width, RandomStream& stream) {
  if (!stream.Bernoulli(options.probability)) return Mix();
  const bool cut =
      options.mixup() && options.cutmix() ? stream.Bernoulli(options.switch_probability) : options.cutmix();
  if (cut && options.cutmix_minmax)
    return CutmixOf(DrawBox(*options.cutmix_minmax, height, width, stream), height, width);
  const double lambda = DrawBeta(cut ? options.cutmix_alpha : options.mixup_alpha, stream);
  if (lambda == 1) return Mix();
  return cut ? CutmixOf(DrawBox(lambda, height, width, stream), height, width) : MixupOf(lambda);
}

}  // namespace

absl::StatusOr<MixMode> ParseMixMode(absl::string_view text) {
  if (text == "batch") return MixMode::kBatch;
  if (text == "pair") return MixMode::kPair;
  if (text == "elem") return MixMode::kElement;
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not batch, pair or elem"));
}

absl::Status CheckMixSize(const MixOptions& options, int height, int width) {
  if (!options.cutmix_minmax) return absl::OkStatus();
  for (const int side : {height, width}) {
    const auto [least, most] = SideRange(*options.cutmix_minmax, side);
    if (least < most) continue;
    return absl::InvalidArgumentError(absl::StrCat("CutMix's box must have a side of at least ", least,
                                                   " pixels and less than ", most, ", of ", side,
                                                   ": there is none; widen --cutmix_minmax"));
  }
  return absl::OkStatus();
}

Mix MixupOf(double lambda) {
  Mix mix;
  mix.kind = Mix::Kind::kMixup;
  mix.lambda = lambda;
  return mix;
}

Mix CutmixOf(const Box& box, int height, int width) {
  TEC_CHECK(box.top >= 0 && box.left >= 0 && box.height >= 0 && box.width >= 0 && box.top + box.height <= height &&
            box.left + box.width <= width)
      << "box [" << box.top << ", " << box.left << ", " << box.height << ", " << box.width << "] of " << height << " x "
      << width;
  Mix mix;
  mix.kind = Mix::Kind::kCutmix;
  mix.box = box;
  mix.lambda = 1 - static_cast<double>(int64_t{box.height} * box.width) / static_cast<double>(int64_t{height} * width);
  return mix;
}

std::string MixToText(const Mix& mix) {
  switch (mix.kind) {
    case Mix::Kind::kNone:
      return "none";
    case Mix::Kind::kMixup:
      return absl::StrFormat("mixup %.4g", mix.lambda);
    case Mix::Kind::kCutmix:
      return absl::StrFormat("cutmix rows %d-%d columns %d-%d lambda %.4g", mix.box.top, mix.box.top + mix.box.height,
                             mix.box.left, mix.box.left + mix.box.width, mix.lambda);
  }
  return "";
}

std::vector<Mix> DrawMixes(const MixOptions& options, int64_t images, int height, int width, RandomStream& stream) {
  TEC_CHECK(options.any()) << "neither mixup nor CutMix is on";
  TEC_CHECK(images > 0 && images % 2 == 0) << "mixing pairs images, of which there are " << images;
  if (options.mode == MixMode::kBatch) return {DrawMix(options, height, width, stream)};
  std::vector<Mix> mixes(images);
  const int64_t drawn = options.mode == MixMode::kPair ? images / 2 : images;
  for (int64_t n = 0; n < drawn; ++n) mixes[n] = DrawMix(options, height, width, stream);
  for (int64_t n = drawn; n < images; ++n) mixes[n] = mixes[images - 1 - n];
  return mixes;
}

double DrawBeta(double alpha, RandomStream& stream) {
  TEC_CHECK(alpha > 0) << alpha;
  if (alpha >= 1) {
    const double x = DrawGamma(alpha, stream), y = DrawGamma(alpha, stream);
    return x / (x + y);
  }
  // Jöhnk: u^(1/alpha) and v^(1/alpha) where their sum is at most 1; in logarithms, since both vanish for small alpha.
  while (true) {
    const double log_x = std::log(1 - stream.NextDouble()) / alpha, log_y = std::log(1 - stream.NextDouble()) / alpha;
    const double most = std::max(log_x, log_y), sum = std::exp(log_x - most) + std::exp(log_y - most);
    if (most + std::log(sum) > 0) continue;
    return std::exp(log_x - most) / sum;
  }
}

}  // namespace tec
