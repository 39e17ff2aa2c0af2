#include "data/augment/rand_augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

constexpr double kMostMagnitude = 10;
constexpr double kApply = 0.5;

// timm's "w0", in the order of AugmentOp, in thousandths; they go by position, for increasing operations too.
constexpr std::array<int, kAugmentOps> kWeights = {25, 5, 0, 300, 0, 5, 5, 25, 5, 5, 25, 200, 200, 100, 100};
constexpr int kPositiveWeights = 13;

absl::Status Wrong(absl::string_view text, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("RandAugment's settings \"", text, "\": ", what,
                                                 "; known are m, n, mstd, inc1 and w0, as in rand-m9-mstd0.5-inc1"));
}

std::vector<AugmentOp> DrawOperations(const RandAugmentPolicy& policy, RandomStream& stream) {
  std::vector<AugmentOp> ops;
  std::array<int, kAugmentOps> weights = kWeights;
  for (int i = 0; i < policy.operations; ++i) {
    if (!policy.weighted) {
      ops.push_back(static_cast<AugmentOp>(stream.UniformInt(kAugmentOps)));
      continue;
    }
    int total = 0, op = 0;
    for (const int weight : weights) total += weight;
    int left = static_cast<int>(stream.UniformInt(total));
    while (left >= weights[op]) left -= weights[op++];
    ops.push_back(static_cast<AugmentOp>(op));
    weights[op] = 0;
  }
  return ops;
}

}  // namespace

absl::StatusOr<RandAugmentPolicy> ParseRandAugment(absl::string_view text) {
  const std::vector<absl::string_view> sections = absl::StrSplit(text, '-');
  if (sections[0] != "rand") {
    return Wrong(text, absl::StrCat("it begins with \"", sections[0], "\", not with \"rand\", the only kind there is"));
  }
  RandAugmentPolicy policy;
  bool has_std = false;
  for (size_t i = 1; i < sections.size(); ++i) {
    const absl::string_view section = sections[i];
    const size_t digit = section.find_first_of("0123456789");
    if (digit == absl::string_view::npos) return Wrong(text, absl::StrCat("\"", section, "\" has no number"));
    const absl::string_view key = section.substr(0, digit), value = section.substr(digit);
    int number = 0;
    const bool whole = absl::SimpleAtoi(value, &number);
    if (key == "mstd") {
      double std = 0;
      if (!absl::SimpleAtod(value, &std) || !std::isfinite(std)) {
        return Wrong(text, absl::StrCat("\"", value, "\" is no number"));
      }
      if (!has_std) policy.magnitude_std = std;  // The first one counts in timm; of the others, the last.
      has_std = true;
      continue;
    }
    if (key != "m" && key != "n" && key != "inc" && key != "w") {
      return Wrong(text, absl::StrCat("\"", section, "\" is not known"));
    }
    if (!whole) return Wrong(text, absl::StrCat("\"", section, "\" needs a whole number"));
    if (key == "m") {
      policy.magnitude = number;
    } else if (key == "n") {
      if (number > 100) return Wrong(text, absl::StrCat("\"", section, "\" is more than 100 operations"));
      policy.operations = number;
    } else if (key == "inc") {
      if (number == 0) return Wrong(text, "timm takes inc0 for inc1; leave it out for decreasing operations");
      policy.increasing = true;
    } else {
      if (number != 0) return Wrong(text, absl::StrCat("\"", section, "\": there is one table of weights, w0"));
      policy.weighted = true;
    }
  }
  if (policy.weighted && policy.operations > kPositiveWeights) {
    return Wrong(text,
                 absl::StrCat("w0 has ", kPositiveWeights, " operations to choose from, n is ", policy.operations));
  }
  return policy;
}

double AugmentArgument(AugmentOp op, bool increasing, double magnitude, bool negate) {
  TEC_CHECK(magnitude >= 0 && magnitude <= kMostMagnitude) << magnitude;
  const double share = magnitude / kMostMagnitude;
  const auto either = [negate](double value) { return negate ? -value : value; };
  const auto whole = [share](double most) { return std::trunc(share * most); };
  switch (op) {
    case AugmentOp::kAutoContrast:
    case AugmentOp::kEqualize:
    case AugmentOp::kInvert:
      return 0;
    case AugmentOp::kRotate:
      return either(share * 30.0);
    case AugmentOp::kPosterize:
      return increasing ? 4 - whole(4) : whole(4);
    case AugmentOp::kSolarize:
      return increasing ? 256 - whole(256) : whole(256);
    case AugmentOp::kSolarizeAdd:
      return whole(110);
    case AugmentOp::kColor:
    case AugmentOp::kContrast:
    case AugmentOp::kBrightness:
    case AugmentOp::kSharpness:
      return increasing ? 1.0 + either(share * 0.9) : share * 1.8 + 0.1;
    case AugmentOp::kShearX:
    case AugmentOp::kShearY:
      return either(share * 0.3);
    case AugmentOp::kTranslateX:
    case AugmentOp::kTranslateY:
      return either(share * 0.45);
  }
  return 0;
}

std::vector<AugmentStep> DrawRandAugment(const RandAugmentPolicy& policy, RandomStream& stream) {
  std::vector<AugmentStep> steps;
  for (const AugmentOp op : DrawOperations(policy, stream)) {
    if (!stream.Bernoulli(kApply)) continue;
    double magnitude = policy.magnitude;
    if (policy.magnitude_std > 0) magnitude += policy.magnitude_std * stream.Normal();
    magnitude = std::clamp(magnitude, 0.0, kMostMagnitude);
    steps.push_back({op, AugmentArgument(op, policy.increasing, magnitude, stream.Bernoulli(0.5))});
  }
  return steps;
}

}  // namespace tec
