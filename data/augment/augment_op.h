// The operations of RandAugment and of colour jitter on pixels, bit for bit what Pillow computes for timm 0.3.2
// (recipe.md section 13.3). Which ones, and how strong, is drawn elsewhere: rand_augment.h, color_jitter.h.

#ifndef TEC_DATA_AUGMENT_AUGMENT_OP_H_
#define TEC_DATA_AUGMENT_AUGMENT_OP_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// In the order of timm's table. What `argument` means is said beside each.
enum class AugmentOp {
  kAutoContrast,  // None. Each channel's range is stretched to 0..255.
  kEqualize,      // None. Each channel's histogram is flattened.
  kInvert,        // None.
  kRotate,        // Degrees counter-clockwise about the centre; other than 90, 180, 270.
  kPosterize,     // Whole number of high bits kept; 0: black, 8 and above: unchanged.
  kSolarize,      // Threshold: values from it on are inverted; a whole number.
  kSolarizeAdd,   // Whole number added to values below 128, at most 255 results.
  kColor,         // Factor: 0 grey, 1 unchanged, above 1 more colourful.
  kContrast,      // Factor: 0 the mean grey, 1 unchanged.
  kBrightness,    // Factor: 0 black, 1 unchanged.
  kSharpness,     // Factor: 0 smoothed, 1 unchanged.
  kShearX,        // Pixels by which the source's column moves a row.
  kShearY,        // Pixels by which the source's row moves a column.
  kTranslateX,    // Share of the width by which the picture moves to the left.
  kTranslateY,    // Share of the height by which the picture moves up.
};
inline constexpr int kAugmentOps = 15;

// timm's name: "AutoContrast", ..., "TranslateXRel", "TranslateYRel".
const char* AugmentOpName(AugmentOp op);
// Of that name or of its "...Increasing" form, which does the same to pixels. NotFound otherwise.
absl::StatusOr<AugmentOp> FindAugmentOp(absl::string_view name);

// How the geometric operations (Rotate, Shear, Translate) fetch pixels.
enum class Interpolation { kBilinear, kBicubic };
struct AugmentStyle {
  Interpolation interpolation = Interpolation::kBicubic;
  // RGB of what comes from outside of the picture; timm: round(255 * mean).
  std::array<uint8_t, 3> fill = {124, 116, 104};
};

// Memory kept from one image to the next.
struct AugmentScratch {
  std::vector<uint8_t> copy;  // The source of an operation that cannot work in place.
  std::vector<uint8_t> row;
  std::vector<double> positions;
  std::vector<int32_t> samples;
};

// Changes `pixels`, uint8 [height, width, 3] (RGB), in place. height, width >= 1. The argument is finite; enhancement
// factors are rounded to float32, as Pillow does.
void ApplyAugmentOp(AugmentOp op, double argument, const AugmentStyle& style, int height, int width,
                    AugmentScratch* scratch, uint8_t* pixels);

// One operation with its argument: all that is random about it.
struct AugmentStep {
  AugmentOp op = AugmentOp::kInvert;
  double argument = 0;  // Of operations that have none: 0.
};

// "Rotate(-27), Invert", the arguments to the last bit; "none" for no step.
std::string AugmentStepsToText(const std::vector<AugmentStep>& steps);
// And back; names may have their "...Increasing" form. InvalidArgument says what is wrong.
absl::StatusOr<std::vector<AugmentStep>> ParseAugmentSteps(absl::string_view text);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_AUGMENT_OP_H_
