// The loader of a run's training images, from its settings.

#ifndef TEC_RUN_TRAINING_LOADER_H_
#define TEC_RUN_TRAINING_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/loader/loader.h"
#include "data/loader/transform.h"
#include "tec/config/experiment.pb.h"
#include "tec/run/run_context.h"
#include "tec/run/run_position.h"

namespace tec {

// This rank's share of `dataset`, by DecodingThreads(data.num_workers) threads. Pictures that cannot be read are listed
// in output_dir/bad_images.txt. Errors name data.path.
absl::StatusOr<std::unique_ptr<Loader>> MakeTrainingLoader(std::shared_ptr<const Dataset> dataset,
                                                           std::shared_ptr<const Transform> transform,
                                                           const config::Data& data, int64_t batch_size, int64_t seed,
                                                           const std::string& output_dir, RunContext& context);

EpochPlan PlanOf(const Loader& loader, int64_t accum_iter, RunContext& context);

// The next batch, which is number `step` of its epoch; the loader's errors.
absl::StatusOr<const Batch*> NextBatch(Loader& loader, int64_t step);
// F32 [N, channels, size, size] on the context's device, normalised by data.mean and data.std.
at::Tensor NormalisedImages(const Batch& batch, const config::Data& data, RunContext& context);

}  // namespace tec

#endif  // TEC_RUN_TRAINING_LOADER_H_
