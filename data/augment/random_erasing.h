// timm 0.3.2's random erasing: which boxes of a normalised picture are overwritten, and with what (recipe.md section
// 13.3). Parameters and numbers only.

#ifndef TEC_DATA_AUGMENT_RANDOM_ERASING_H_
#define TEC_DATA_AUGMENT_RANDOM_ERASING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/augment/random_resized_crop.h"
#include "tec/base/random.h"

namespace tec {

// What takes the place of erased values.
enum class EraseMode {
  kConst,  // Zero: after normalisation, the mean colour.
  kRand,   // A standard normal draw for each channel of a box.
  kPixel,  // One for each value.
};
// "const", "rand", "pixel", the words of --remode. InvalidArgument otherwise.
absl::StatusOr<EraseMode> ParseEraseMode(absl::string_view text);

struct EraseOptions {
  double probability = 0;  // Of a picture being touched at all.
  EraseMode mode = EraseMode::kPixel;
  // Each touched picture has 1 to `most` boxes, each number equally likely; their area is shared.
  int most = 1;
  int channels = 3;  // Of the picture.
};

struct ErasedBox {
  Box box;
  // float32 [channels, box.height, box.width]: what goes there. Of kConst and kRand, [channels]: the same for a whole
  // channel.
  std::vector<float> values;
};

// Boxes of a height x width picture, in the order in which they are painted. Up to 10 tries a box: area uniform in
// [0.02, 1/3] of the picture's over the number of boxes, aspect exp of uniform in [ln 0.3, ln 1/0.3]; taken if smaller
// than the picture in both directions; its corner is uniform. Where no try fits there is no box.
std::vector<ErasedBox> DrawErasing(const EraseOptions& options, int height, int width, RandomStream& stream);

// `count` standard normal draws in float32 (Box-Muller, both halves), at a fifth of the cost of RandomStream::Normal().
void FillNormal(int64_t count, RandomStream& stream, float* out);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RANDOM_ERASING_H_
