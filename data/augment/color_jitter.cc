#include "data/augment/color_jitter.h"

#include <algorithm>

#include "tec/base/logging.h"

namespace tec {

std::vector<AugmentStep> DrawColorJitter(double strength, RandomStream& stream) {
  TEC_CHECK_GE(strength, 0);
  if (strength == 0) return {};
  std::vector<AugmentStep> by_kind = {{AugmentOp::kBrightness, 0}, {AugmentOp::kContrast, 0}, {AugmentOp::kColor, 0}};
  const std::vector<int64_t> order = RandomPermutation(static_cast<int64_t>(by_kind.size()), stream);
  for (AugmentStep& step : by_kind) step.argument = stream.Uniform(std::max(0.0, 1 - strength), 1 + strength);
  std::vector<AugmentStep> steps;
  for (const int64_t i : order) steps.push_back(by_kind[i]);
  return steps;
}

}  // namespace tec
