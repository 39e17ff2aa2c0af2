// Frozen features of a data set: what kNN, linear probes and the quickstart's table are computed from.
//
//   auto features = ExtractFeatures(*encoder, dataset, FeatureOptions());
//   FitLogistic(features->values, features->labels, ...);

#ifndef TEC_EVAL_FEATURES_FEATURES_H_
#define TEC_EVAL_FEATURES_FEATURES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/loader/transform.h"
#include "eval/features/feature_spec.h"
#include "tec/dist/process_group.h"
#include "tec/models/encoder.h"
#include "tec/nn/normalize.h"

namespace tec {

struct FeatureOptions {
  FeatureSpec spec = kClsFeatures;
  int64_t batch_size = 64;
  int threads = 1;      // That decode.
  bool pin_mem = true;  // Copy to a CUDA device from page-locked memory.
  // One for each of the encoder's channels.
  std::vector<float> mean{kImageNetMean.begin(), kImageNetMean.end()}, std{kImageNetStd.begin(), kImageNetStd.end()};
  at::ScalarType precision = at::kFloat;  // Of the encoder's matrix products; kBFloat16, or kHalf on CUDA.
  // Asked before each batch; true ends the extraction with Cancelled.
  std::function<bool()> stop;
  // Told after each batch: images done, images in all.
  std::function<void(int64_t, int64_t)> progress;
  double max_bad_fraction = 0.001;  // This and the next as in LoaderOptions.
  std::string bad_images_path;
  // Given the features (float32 [N, width]) and labels (int64 [N]) of each batch, on the CPU, in place of keeping them:
  // for sets whose features are larger than memory. `images`, N or more: with the unreadable ones. An error ends the
  // extraction.
  std::function<absl::Status(const at::Tensor& values, const at::Tensor& labels, int64_t images)> sink;
  // Begin with this image, a multiple of batch_size.
  int64_t first_image = 0;
  // Of several ranks, all of which make the call with the same encoder, images and options: each computes every
  // world_size-th batch, and the first rank gets the features of all, as it would have them alone: on the CPU, with as
  // many compute threads, to the bit. Null: this process alone. It outlives the call.
  ProcessGroup* group = nullptr;
};

struct Features {
  // Undefined with a sink, and on ranks other than the first.
  at::Tensor values;       // float32 [n, spec.Width(C)], on the CPU, in the data set's order.
  at::Tensor labels;       // int64 [n], on the CPU; -1 without labels.
  int64_t unreadable = 0;  // Images left out because they could not be read; n = dataset.size() - unreadable.
};

// Runs every image of `dataset` once through `encoder`, which stays where it is, without gradient. An unreadable image
// is left out, counted and logged. Errors are the loader's. Of several ranks the first one alone calls sink and
// progress; an error of one is returned on all, and Cancelled if one was asked to stop, after which the group is still
// good.
absl::StatusOr<Features> ExtractFeatures(Encoder& encoder, std::shared_ptr<const Dataset> dataset,
                                         const FeatureOptions& options);

// The first rank's features, on all ranks.
absl::Status SendFeatures(ProcessGroup& group, at::Device device, Features* features);

// The evaluation transform (EvalTransform) for features: an image that is exactly size x size is taken as it is,
// because small pictures would only be blurred and cut by the way over a larger size; any other as EvalTransform does.
class FeatureTransform : public Transform {
 public:
  explicit FeatureTransform(int size, int channels = 3) : size_(size), channels_(channels) {}

  int size() const override { return size_; }
  int channels() const override { return channels_; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

 private:
  int size_, channels_;
};

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_FEATURES_H_
