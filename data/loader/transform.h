// What happens to one encoded image on its way into a batch: decode, crop, resize, flip.
//
// A transform starts from the encoded bytes, not from pixels, so that it may decode no more than it will show.

#ifndef TEC_DATA_LOADER_TRANSFORM_H_
#define TEC_DATA_LOADER_TRANSFORM_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/augment/augment_op.h"
#include "data/augment/random_resized_crop.h"
#include "data/augment/resize.h"
#include "data/image/image.h"

namespace tec {

// Memory that a worker thread keeps from image to image.
struct TransformScratch {
  ImageRegion decoded;
  ResizeScratch resize;
  AugmentScratch augment;

  // Gives back what is larger than kMostKeptBytes, between two images: a single huge one must not be paid for till the
  // run's end.
  void GiveBackLarge();
};

// Of one buffer that a thread keeps for the images to come: 22 million pixels, more than most cameras'.
inline constexpr size_t kMostKeptBytes = size_t{64} << 20;

// What the random decisions about one image depend on, besides their purpose.
struct SampleKey {
  uint64_t seed = 0;
  uint64_t epoch = 0;
  uint64_t sample = 0;  // Data set index that the sampler chose, also where another image replaces an unreadable one.
};

// Immutable; Apply may be called from many threads at once, each with a scratch of its own.
class Transform {
 public:
  virtual ~Transform() = default;

  // Side of the square result, pixels.
  virtual int size() const = 0;
  // Of the result, and asked of the decoder.
  virtual int channels() const { return 3; }

  // Writes uint8 [size, size, channels] to `out`. On an error `out` may be partly written. Errors are DecodeImage's.
  virtual absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                             uint8_t* out) const = 0;
};

// The training transform of recipe.md section 7: random resized crop, then horizontal flip, both of the stream
// RandomKey{seed, kCrop, epoch, sample}.
class TrainTransform : public Transform {
 public:
  struct Options {
    int size = 224;
    CropOptions crop;
    double flip_probability = 0.5;
    int channels = 3;  // As DecodeImage's.
    ResizeFilter filter = ResizeFilter::kBicubic;
  };
  explicit TrainTransform(const Options& options);

  int size() const override { return options_.size; }
  int channels() const override { return options_.channels; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

 private:
  Options options_;
};

// The evaluation transform of recipe.md section 13.5: the short side resized to int(size / 0.875) up to size 224, to
// size above; then the central size x size. No randomness.
class EvalTransform : public Transform {
 public:
  explicit EvalTransform(int size, int channels = 3);

  int size() const override { return size_; }
  int channels() const override { return channels_; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

 private:
  int size_, channels_;
};

}  // namespace tec

#endif  // TEC_DATA_LOADER_TRANSFORM_H_
