#include "eval/linear/probe_images.h"

#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "data/loader/batch_images.h"
#include "eval/linear/probe_transform.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/nn/autocast.h"
#include "tec/nn/normalize.h"

namespace tec {
namespace {

using Crop = LinearRunOptions::Crop;
constexpr CropOptions kTrainCrop = {0.08, 1.0, 3.0 / 4.0, 4.0 / 3.0};

std::shared_ptr<const Transform> TransformOf(Crop crop, const VitOptions& encoder) {
  const int size = static_cast<int>(encoder.image_size), channels = static_cast<int>(encoder.channels);
  if (crop == Crop::kSingleDraw) return std::make_shared<ProbeTransform>(size, kTrainCrop, channels);
  TrainTransform::Options train;
  train.size = size;
  train.crop = kTrainCrop;
  train.channels = channels;
  if (crop == Crop::kRandomResizedBilinear) train.filter = ResizeFilter::kBilinear;
  return std::make_shared<TrainTransform>(train);
}

}  // namespace

absl::StatusOr<ProbeImages> ProbeImages::Open(const LinearRunOptions& options, const FrozenSettings& frozen,
                                              const FrozenInputs& inputs) {
  ProbeImages images(inputs, frozen.features);
  if (options.crop == Crop::kNone) {
    TEC_ASSIGN_OR_RETURN(images.stored_, FrozenFeatures(inputs, frozen, Split::kTrain));
    if (frozen.features.group != nullptr) {
      TEC_RETURN_IF_ERROR(SendFeatures(*frozen.features.group, inputs.device, &images.stored_));
    }
    images.stored_.values = images.stored_.values.to(inputs.device);
    images.stored_.labels = images.stored_.labels.to(inputs.device);
    SamplerOptions order;
    order.dataset_size = images.stored_.values.size(0);
    order.batch_size = options.batch_size;
    order.world_size = options.environment.world_size;
    order.rank = options.environment.rank;
    order.seed = frozen.seed;
    absl::StatusOr<Sampler> sampler = Sampler::Create(order);
    TEC_RETURN_IF_ERROR(Annotate(sampler.status(), frozen.data_path));
    images.sampler_ = *std::move(sampler);
    return images;
  }
  LoaderOptions loader;
  loader.batch_size = options.batch_size;
  loader.world_size = options.environment.world_size;
  loader.rank = options.environment.rank;
  loader.seed = frozen.seed;
  loader.threads = frozen.features.threads;
  loader.max_bad_fraction = frozen.features.max_bad_fraction;
  loader.bad_images_path = absl::StrCat(frozen.output_dir, "/bad_images.txt");
  loader.allocate = BatchMemory(inputs.device, frozen.features.pin_mem);
  absl::StatusOr<std::unique_ptr<Loader>> made =
      Loader::Create(inputs.data.train, TransformOf(options.crop, inputs.encoder->options()), loader);
  TEC_RETURN_IF_ERROR(Annotate(made.status(), frozen.data_path));
  images.loader_ = *std::move(made);
  return images;
}

int64_t ProbeImages::images() const { return loader_ ? loader_->dataset().size() : stored_.values.size(0); }

int64_t ProbeImages::batches() const { return loader_ ? loader_->batches_per_epoch() : sampler_->batches_per_epoch(); }

void ProbeImages::StartPass(int64_t pass, int64_t first) {
  if (loader_) {
    loader_->StartEpoch(pass, first);
  } else {
    sampler_->SetEpoch(pass);
  }
}

absl::StatusOr<ProbeImages::Batch> ProbeImages::Next(int64_t number) {
  if (sampler_) {
    std::vector<int64_t> rows;
    sampler_->Batch(number, &rows);
    const at::Tensor index = upload_->Send({at::tensor(rows, at::kLong)})[0];
    return Batch{stored_.values.index_select(0, index), stored_.labels.index_select(0, index)};
  }
  TEC_ASSIGN_OR_RETURN(const tec::Batch* batch, loader_->Next());
  TEC_CHECK(batch != nullptr && batch->number == number);
  at::NoGradGuard no_gradient;
  const BatchUpload::OnDevice sent = upload_->Send(*loader_, *batch, {at::tensor(batch->labels, at::kLong)});
  Batch result;
  {
    AutocastGuard autocast(inputs_->device.type(), features_.precision);
    const at::Tensor images = NormalizePixels(sent.pixels, features_.mean, features_.std);
    result.features = ComputeFeatures(*inputs_->encoder, images, features_.spec).to(at::kFloat);
  }
  result.labels = sent.rest[0];
  return result;
}

}  // namespace tec
