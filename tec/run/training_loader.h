// A run's training images, from its settings to its device.

#ifndef TEC_RUN_TRAINING_LOADER_H_
#define TEC_RUN_TRAINING_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/loader/batch_upload.h"
#include "data/loader/loader.h"
#include "data/loader/transform.h"
#include "tec/config/experiment.pb.h"
#include "tec/run/run_context.h"
#include "tec/run/run_position.h"

namespace tec {

class TrainingBatches {
 public:
  // This rank's share of `dataset`, by DecodingThreads(data.num_workers) threads. Pictures that cannot be read are
  // listed in output_dir/bad_images.txt. Errors name data.path.
  static absl::StatusOr<std::unique_ptr<TrainingBatches>> Make(std::shared_ptr<const Dataset> dataset,
                                                               std::shared_ptr<const Transform> transform,
                                                               const config::Data& data, int64_t batch_size,
                                                               int64_t seed, const std::string& output_dir,
                                                               RunContext& context);

  Loader& loader() { return *loader_; }
  // The next batch, which is number `step` of its epoch; the loader's errors.
  absl::StatusOr<const Batch*> Next(int64_t step);

  struct OnDevice {
    at::Tensor images;             // F32 [N, channels, size, size], normalised by data.mean and data.std.
    std::vector<at::Tensor> rest;  // As given.
  };
  // On the context's device, of the batch that Next gave; what goes with it and how long it is good: BatchUpload::Send.
  OnDevice Send(const Batch& batch, std::vector<at::Tensor> rest);

 private:
  TrainingBatches(std::unique_ptr<Loader> loader, const config::Data& data, c10::Device device);

  std::unique_ptr<Loader> loader_;
  BatchUpload upload_;
  std::vector<float> mean_, std_;
};

EpochPlan PlanOf(const Loader& loader, int64_t accum_iter, RunContext& context);

// The next batch, which is number `step` of its epoch; the loader's errors.
absl::StatusOr<const Batch*> NextBatch(Loader& loader, int64_t step);

}  // namespace tec

#endif  // TEC_RUN_TRAINING_LOADER_H_
