#include "eval/features/features.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/nn/autocast.h"

namespace tec {

absl::Status FeatureTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                     uint8_t* out) const {
  bool as_it_is = false;
  const auto choose = [&](int height, int width) {
    as_it_is = height == size_ && width == size_;
    return as_it_is ? Box{0, 0, height, width} : EvalCropSource(height, width, size_);
  };
  ImageRegion& decoded = scratch->decoded;
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, choose, &decoded, channels_));
  if (as_it_is) {
    std::memcpy(out, decoded.pixels.data(), decoded.pixels.size_bytes());
  } else {
    EvalCrop(decoded, size_, &scratch->resize, out);
  }
  return absl::OkStatus();
}

absl::StatusOr<Features> ExtractFeatures(Encoder& encoder, std::shared_ptr<const Dataset> dataset,
                                         const FeatureOptions& options) {
  at::NoGradGuard no_gradient;
  const at::Device device = encoder.parameters().front().device();
  LoaderOptions loader_options;
  loader_options.batch_size = std::min(options.batch_size, dataset->size());
  loader_options.training = false;
  loader_options.threads = options.threads;
  loader_options.max_bad_fraction = options.max_bad_fraction;
  loader_options.bad_images_path = options.bad_images_path;
  loader_options.allocate = BatchMemory(device, options.pin_mem);
  const VitOptions& vit = encoder.options();
  TEC_ASSIGN_OR_RETURN(
      std::unique_ptr<Loader> loader,
      Loader::Create(dataset, std::make_shared<FeatureTransform>(vit.image_size, vit.channels), loader_options));

  Features features;
  const int64_t width = options.spec.Width(encoder.options().width);
  // With a sink the first rows are written again for every batch.
  const int64_t kept = options.sink ? loader_options.batch_size : dataset->size();
  at::Tensor kept_values = at::empty({kept, width}, at::kFloat), kept_labels = at::empty({kept}, at::kLong);
  int64_t* labels = kept_labels.mutable_data_ptr<int64_t>();
  float* rows = kept_values.mutable_data_ptr<float>();
  int64_t done = 0, seen = options.first_image;
  TEC_CHECK(seen % loader_options.batch_size == 0) << seen << " is not a multiple of " << loader_options.batch_size;
  loader->StartEpoch(0, seen / loader_options.batch_size);
  while (true) {
    if (options.stop && options.stop()) return absl::CancelledError("stopped on request");
    TEC_ASSIGN_OR_RETURN(const Batch* batch, loader->Next());
    if (batch == nullptr) break;
    const at::Tensor images = BatchImages(*batch, device, options.mean, options.std);
    at::Tensor values;
    {
      AutocastGuard autocast(device.type(), options.precision);
      values = ComputeFeatures(encoder, images, options.spec).to(at::kCPU, at::kFloat).contiguous();
    }
    for (int64_t i = 0; i < batch->count; ++i) {
      // The loader put a neighbour in the place of an unreadable image; it has a turn of its own.
      if (batch->sources[i] != batch->indices[i]) {
        ++features.unreadable;
        continue;
      }
      std::memcpy(rows + done * width, values.const_data_ptr<float>() + i * width, width * sizeof(float));
      labels[done++] = batch->labels[i];
    }
    seen += batch->count;
    if (options.sink) {
      TEC_RETURN_IF_ERROR(options.sink(kept_values.narrow(0, 0, done), kept_labels.narrow(0, 0, done), batch->count));
      done = 0;
    }
    if (options.progress) options.progress(seen, dataset->size());
  }
  if (options.sink) return features;
  features.values = kept_values.narrow(0, 0, done);
  features.labels = kept_labels.narrow(0, 0, done);
  return features;
}

}  // namespace tec
