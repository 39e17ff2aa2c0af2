// RandAugment of timm 0.3.2: which operations a picture undergoes, and how strong (recipe.md section 13.3). Parameters
// only; augment_op.h has the pixels.

#ifndef TEC_DATA_AUGMENT_RAND_AUGMENT_H_
#define TEC_DATA_AUGMENT_RAND_AUGMENT_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/augment/augment_op.h"
#include "tec/base/random.h"

namespace tec {

struct RandAugmentPolicy {
  int magnitude = 10;        // m
  int operations = 2;        // n
  double magnitude_std = 0;  // mstd; 0: the magnitude is always the same.
  bool increasing = false;   // inc1: Posterize, Solarize and the enhancements grow stronger with the magnitude.
  bool weighted = false;     // w0: operations by timm's table of weights, none of them twice.
};

// timm's settings text: "rand", then sections in any order behind dashes: m (magnitude, whole), n (operations a
// picture), mstd (standard deviation of the magnitude), inc1, w0. For example "rand-m9-mstd0.5-inc1".
//
// InvalidArgument for all else. Two spellings that timm takes are refused, since it does not do what they seem to say:
// a section without a number, which it ignores, and inc0, which is inc1 there.
absl::StatusOr<RandAugmentPolicy> ParseRandAugment(absl::string_view text);

// The argument (augment_op.h) of `op` at `magnitude`, 0 to 10. `negate` is the coin of operations that go either way;
// it means nothing to others. 0 for operations without an argument.
double AugmentArgument(AugmentOp op, bool increasing, double magnitude, bool negate);

// What one picture undergoes: policy.operations are drawn, each is then left out with probability 1/2. Draws from
// `stream`: the operations; for each whether it is applied, and if so its magnitude and its coin.
std::vector<AugmentStep> DrawRandAugment(const RandAugmentPolicy& policy, RandomStream& stream);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RAND_AUGMENT_H_
