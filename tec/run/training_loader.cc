#include "tec/run/training_loader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "data/loader/batch_images.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/nn/normalize.h"
#include "tec/run/rank_runtime.h"

namespace tec {

TrainingBatches::TrainingBatches(std::unique_ptr<Loader> loader, const config::Data& data, c10::Device device)
    : loader_(std::move(loader)),
      upload_(device, data.pin_mem()),
      mean_(data.mean().begin(), data.mean().end()),
      std_(data.std().begin(), data.std().end()) {}

absl::StatusOr<std::unique_ptr<TrainingBatches>> TrainingBatches::Make(std::shared_ptr<const Dataset> dataset,
                                                                       std::shared_ptr<const Transform> transform,
                                                                       const config::Data& data, int64_t batch_size,
                                                                       int64_t seed, const std::string& output_dir,
                                                                       RunContext& context) {
  LoaderOptions options;
  options.batch_size = batch_size;
  options.world_size = context.group().world_size();
  options.rank = context.group().rank();
  options.seed = static_cast<uint64_t>(seed);
  options.threads = static_cast<int>(DecodingThreads(data.num_workers()));
  options.max_bad_fraction = data.max_bad_fraction();
  options.order = data.sampler() == "reference" ? SampleOrder::kReference : SampleOrder::kOwn;
  options.bad_images_path = absl::StrCat(output_dir, "/bad_images.txt");
  options.allocate = BatchMemory(context.device(), data.pin_mem());
  absl::StatusOr<std::unique_ptr<Loader>> loader = Loader::Create(std::move(dataset), std::move(transform), options);
  TEC_RETURN_IF_ERROR(Annotate(loader.status(), data.path()));
  return std::unique_ptr<TrainingBatches>(new TrainingBatches(*std::move(loader), data, context.device()));
}

absl::StatusOr<const Batch*> TrainingBatches::Next(int64_t step) { return NextBatch(*loader_, step); }

TrainingBatches::OnDevice TrainingBatches::Send(const Batch& batch, std::vector<at::Tensor> rest) {
  BatchUpload::OnDevice sent = upload_.Send(*loader_, batch, std::move(rest));
  return {NormalizePixels(sent.pixels, mean_, std_), std::move(sent.rest)};
}

EpochPlan PlanOf(const Loader& loader, int64_t accum_iter, RunContext& context) {
  EpochPlan plan;
  plan.dataset_size = loader.dataset().size();
  plan.images_per_micro_step = loader.options().batch_size * context.group().world_size();
  plan.steps_per_epoch = loader.batches_per_epoch();
  plan.accum_iter = accum_iter;
  plan.seed = static_cast<int64_t>(loader.options().seed);
  return plan;
}

absl::StatusOr<const Batch*> NextBatch(Loader& loader, int64_t step) {
  TEC_ASSIGN_OR_RETURN(const Batch* batch, loader.Next());
  TEC_CHECK(batch != nullptr && batch->number == step) << "the epoch ended before micro-step " << step;
  return batch;
}

}  // namespace tec
