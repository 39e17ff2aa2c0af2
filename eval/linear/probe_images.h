// What a linear probe is trained on, batch by batch: features of freshly cut images, or, where nothing about the images
// is random, features that were computed once.

#ifndef TEC_EVAL_LINEAR_PROBE_IMAGES_H_
#define TEC_EVAL_LINEAR_PROBE_IMAGES_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/loader/batch_upload.h"
#include "data/loader/loader.h"
#include "data/loader/sampler.h"
#include "eval/features/features.h"
#include "eval/linear/run_linear.h"
#include "eval/program/frozen_program.h"

namespace tec {

class ProbeImages {
 public:
  // options.crop says which of the two. inputs outlives it; `frozen` is as OpenFrozenInputs left it, with the features
  // that are wanted in frozen.features.spec. Errors are the loader's and those of computing features.
  static absl::StatusOr<ProbeImages> Open(const LinearRunOptions& options, const FrozenSettings& frozen,
                                          const FrozenInputs& inputs);

  int64_t images() const;
  int64_t batches() const;                          // Of one pass over the images.
  Loader* loader() const { return loader_.get(); }  // Null where features were computed once.

  // Begins pass number `pass` at batch `first`.
  void StartPass(int64_t pass, int64_t first);

  // On the device; good until the call after the next one.
  struct Batch {
    at::Tensor features, labels;  // float32 [N, width of the spec]; int64 [N].
  };
  // Batch number `number` of the pass; they come in order.
  absl::StatusOr<Batch> Next(int64_t number);

 private:
  ProbeImages(const FrozenInputs& inputs, const FeatureOptions& features)
      : inputs_(&inputs),
        features_(features),
        upload_(std::make_unique<BatchUpload>(inputs.device, features.pin_mem)) {}

  const FrozenInputs* inputs_;
  FeatureOptions features_;
  std::unique_ptr<BatchUpload> upload_;
  std::unique_ptr<Loader> loader_;  // With a random crop; else
  Features stored_;                 // the features, on the device,
  std::optional<Sampler> sampler_;  // and their order.
};

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_PROBE_IMAGES_H_
