// The training crop of MAE's linear probe: one draw of area and aspect, without a second try.

#ifndef TEC_EVAL_LINEAR_PROBE_TRANSFORM_H_
#define TEC_EVAL_LINEAR_PROBE_TRANSFORM_H_

#include <cstdint>

#include "data/augment/random_resized_crop.h"
#include "data/loader/transform.h"

namespace tec {

// Area uniform in [scale_min, scale_max] of the image's, the logarithm of the aspect uniform; a side longer than the
// image's is cut to it (which changes the aspect); offsets uniform. (main_linprobe's RandomResizedCrop, recipe.md
// section 16) height, width >= 1; the result lies inside the image and is not empty.
Box SingleDrawCrop(int height, int width, const CropOptions& options, RandomStream& stream);

// That crop, resized (bicubic) to size x size, and a horizontal flip of probability 0.5; both of the stream
// RandomKey{seed, kCrop, epoch, sample}.
class ProbeTransform : public Transform {
 public:
  ProbeTransform(int size, const CropOptions& crop, int channels = 3) : size_(size), channels_(channels), crop_(crop) {}

  int size() const override { return size_; }
  int channels() const override { return channels_; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

 private:
  int size_, channels_;
  CropOptions crop_;
};

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_PROBE_TRANSFORM_H_
