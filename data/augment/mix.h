// Mixup and CutMix as timm 0.3.2's Mixup draws them (recipe.md section 13.4). Parameters only; the tensors are in
// eval/finetune/mix_batch.h. The partner of image n is image N-1-n.

#ifndef TEC_DATA_AUGMENT_MIX_H_
#define TEC_DATA_AUGMENT_MIX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/augment/random_resized_crop.h"
#include "tec/base/random.h"

namespace tec {

// What shares one set of parameters.
enum class MixMode { kBatch, kPair, kElement };
// "batch", "pair", "elem", the words of --mixup_mode. InvalidArgument otherwise.
absl::StatusOr<MixMode> ParseMixMode(absl::string_view text);

struct MixOptions {
  double mixup_alpha = 0;   // lambda ~ Beta(alpha, alpha); 0: no mixup.
  double cutmix_alpha = 0;  // Likewise; 0: no CutMix, unless cutmix_minmax is there.
  // Least and most side of CutMix's box over the image's, 0 <= first < second <= 1; cutmix_alpha then plays no part.
  std::optional<std::pair<double, double>> cutmix_minmax;
  double probability = 1;           // Of mixing at all.
  double switch_probability = 0.5;  // Of CutMix where both are on.
  MixMode mode = MixMode::kBatch;

  bool mixup() const { return mixup_alpha > 0; }
  bool cutmix() const { return cutmix_alpha > 0 || cutmix_minmax.has_value(); }
  bool any() const { return mixup() || cutmix(); }
};

// InvalidArgument if CutMix's minimum and maximum leave no whole number of pixels between them.
absl::Status CheckMixSize(const MixOptions& options, int height, int width);

struct Mix {
  enum class Kind { kNone, kMixup, kCutmix };
  Kind kind = Kind::kNone;
  double lambda = 1;  // The image's own share: of its values, and of its target. 1 with kNone.
  Box box;            // kCutmix: the partner's pixels; lambda is 1 - its area over the image's. May be empty.
};

// Mixup with this lambda; CutMix with this box of a height x width image.
Mix MixupOf(double lambda);
Mix CutmixOf(const Box& box, int height, int width);

// "mixup 0.3", "cutmix rows 2-9 columns 3-16 lambda 0.644", "none".
std::string MixToText(const Mix& mix);

// For a batch of `images` (even) of height x width: one Mix of kBatch; of the other modes one an image, those of n and
// N-1-n equal with kPair. Needs options.any() and CheckMixSize.
std::vector<Mix> DrawMixes(const MixOptions& options, int64_t images, int height, int width, RandomStream& stream);

// Beta(alpha, alpha), alpha > 0.
double DrawBeta(double alpha, RandomStream& stream);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_MIX_H_
