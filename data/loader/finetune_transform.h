// The training transform of finetuning (recipe.md section 13.3, steps 1 to 3): random resized crop, flip, then
// RandAugment or colour jitter. What is random about a picture is drawn first, as plain values.
//
//   SampleAugmentation drawn = transform.Draw(image.height(), image.width(), key);   // To print, pin or change.
//   transform.Paint(image, drawn, &scratch, out);

#ifndef TEC_DATA_LOADER_FINETUNE_TRANSFORM_H_
#define TEC_DATA_LOADER_FINETUNE_TRANSFORM_H_

#include <optional>
#include <string>
#include <vector>

#include "data/augment/augment_op.h"
#include "data/augment/rand_augment.h"
#include "data/loader/transform.h"

namespace tec {

// All that happens to one picture.
struct SampleAugmentation {
  Box crop;
  bool flip = false;
  std::vector<AugmentStep> steps;  // In order.
};

// "crop rows 3-200 columns 10-180, flip, Rotate(-27), Invert".
std::string SampleAugmentationToText(const SampleAugmentation& drawn);

class FinetuneTransform : public Transform {
 public:
  struct Options {
    TrainTransform::Options crop;                   // scale_min is 0.08 here.
    std::optional<RandAugmentPolicy> rand_augment;  // At most one of the two.
    double color_jitter = 0;                        // DrawColorJitter's strength; 0: none. Both are of RGB alone.
    AugmentStyle style;
  };
  explicit FinetuneTransform(const Options& options);

  int size() const override { return options_.crop.size; }
  int channels() const override { return options_.crop.channels; }
  const Options& options() const { return options_; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

  // Crop and flip are TrainTransform's for the same key; the steps have a stream of their own, kRandAugment.
  SampleAugmentation Draw(int height, int width, const SampleKey& key) const;
  // Writes uint8 [size, size, channels of `image`] to `out`. The crop lies inside the image.
  void Paint(const Image& image, const SampleAugmentation& drawn, TransformScratch* scratch, uint8_t* out) const;

  // timm's fill colour of a normalisation: 255 * mean, rounded, at most 255.
  static std::array<uint8_t, 3> FillOf(const std::array<double, 3>& mean);

 private:
  // Of an Image or an ImageRegion that has the crop.
  template <typename Source>
  void PaintFrom(const Source& image, const SampleAugmentation& drawn, TransformScratch* scratch, uint8_t* out) const;

  Options options_;
};

}  // namespace tec

#endif  // TEC_DATA_LOADER_FINETUNE_TRANSFORM_H_
