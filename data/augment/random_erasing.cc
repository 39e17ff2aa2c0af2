#include "data/augment/random_erasing.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

constexpr double kLeastArea = 0.02, kMostArea = 1.0 / 3.0, kLeastAspect = 0.3;
constexpr int kTries = 10;

}  // namespace

absl::StatusOr<EraseMode> ParseEraseMode(absl::string_view text) {
  if (text == "const") return EraseMode::kConst;
  if (text == "rand") return EraseMode::kRand;
  if (text == "pixel") return EraseMode::kPixel;
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not const, rand or pixel"));
}

void FillNormal(int64_t count, RandomStream& stream, float* out) {
  constexpr float kTwoPi = 6.2831853071795864769F;
  for (int64_t i = 0; i < count; i += 2) {
    const float radius = std::sqrt(-2.0F * std::log(1.0F - stream.NextFloat()));  // 1 - u is never zero.
    const float angle = kTwoPi * stream.NextFloat();
    out[i] = radius * std::cos(angle);
    if (i + 1 < count) out[i + 1] = radius * std::sin(angle);
  }
}

std::vector<ErasedBox> DrawErasing(const EraseOptions& options, int height, int width, RandomStream& stream) {
  TEC_CHECK(height >= 1 && width >= 1 && options.most >= 1) << height << " x " << width << ", " << options.most;
  std::vector<ErasedBox> boxes;
  if (!stream.Bernoulli(options.probability)) return boxes;
  const int count = 1 + static_cast<int>(stream.UniformInt(options.most));
  const double area = static_cast<double>(height) * width, log_aspect = std::log(kLeastAspect);
  for (int i = 0; i < count; ++i) {
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const double target = stream.Uniform(kLeastArea, kMostArea) * area / count;
      const double aspect = std::exp(stream.Uniform(log_aspect, -log_aspect));
      // Python's round(): halves go to the even neighbour.
      const auto box_height = static_cast<int>(std::nearbyint(std::sqrt(target * aspect)));
      const auto box_width = static_cast<int>(std::nearbyint(std::sqrt(target / aspect)));
      if (box_height >= height || box_width >= width) continue;
      ErasedBox erased;
      erased.box.height = box_height;
      erased.box.width = box_width;
      erased.box.top = static_cast<int>(stream.UniformInt(height - box_height + 1));
      erased.box.left = static_cast<int>(stream.UniformInt(width - box_width + 1));
      const auto channels = static_cast<size_t>(options.channels);
      erased.values.assign(options.mode == EraseMode::kPixel ? channels * box_height * box_width : channels, 0);
      if (options.mode != EraseMode::kConst) {
        FillNormal(static_cast<int64_t>(erased.values.size()), stream, erased.values.data());
      }
      boxes.push_back(std::move(erased));
      break;
    }
  }
  return boxes;
}

}  // namespace tec
