#include "eval/dense/patches.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "data/augment/resize_nearest.h"
#include "data/image/decode.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/nn/autocast.h"

namespace tec {

absl::Status SquashTransform::Apply(absl::string_view encoded, const SampleKey&, TransformScratch* scratch,
                                    uint8_t* out) const {
  ImageRegion& decoded = scratch->decoded;
  const auto whole = [](int height, int width) { return Box{0, 0, height, width}; };
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, whole, &decoded, channels_));
  ResizeBicubic(decoded, Box{0, 0, decoded.height, decoded.width}, size_, size_, /*flip=*/false, &scratch->resize, out);
  return absl::OkStatus();
}

absl::Status ForEachPatchBatch(Encoder& encoder, const std::shared_ptr<const MaskedPictures>& pictures,
                               const FeatureOptions& options,
                               const std::function<absl::Status(const PatchBatch&)>& sink, int64_t* unreadable) {
  at::NoGradGuard no_gradient;
  const VitOptions& vit = encoder.options();
  const at::Device device = encoder.parameters().front().device();
  LoaderOptions loader_options;
  loader_options.batch_size = std::min(options.batch_size, pictures->size());
  loader_options.training = false;
  loader_options.threads = options.threads;
  loader_options.max_bad_fraction = options.max_bad_fraction;
  loader_options.bad_images_path = options.bad_images_path;
  loader_options.allocate = BatchMemory(device, options.pin_mem);
  const int64_t size = vit.image_size;
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<Loader> loader,
                       Loader::Create(pictures, std::make_shared<SquashTransform>(static_cast<int>(size), vit.channels),
                                      loader_options));
  loader->StartEpoch(0);
  int64_t done = 0;
  while (true) {
    if (options.stop && options.stop()) return absl::CancelledError("stopped on request");
    TEC_ASSIGN_OR_RETURN(const Batch* batch, loader->Next());
    if (batch == nullptr) return absl::OkStatus();
    std::vector<int64_t> rows;
    PatchBatch patches;
    for (int64_t i = 0; i < batch->count; ++i) {
      // The loader put a neighbour in the place of an unreadable picture; it has a turn of its own.
      if (batch->sources[i] != batch->indices[i]) {
        ++*unreadable;
        continue;
      }
      rows.push_back(i);
      patches.indices.push_back(batch->indices[i]);
    }
    done += batch->count;
    if (options.progress) options.progress(done, pictures->size());
    if (rows.empty()) continue;
    at::Tensor tokens;
    {
      AutocastGuard autocast(device.type(), options.precision);
      tokens = encoder.LastBlocks(BatchImages(*batch, device, options.mean, options.std), 1)[0];
      tokens = encoder.Normalise(tokens.slice(1, vit.variant.prefix()));
    }
    const at::Tensor kept = at::tensor(rows, at::kLong);
    patches.features = tokens.to(at::kCPU, at::kFloat).index_select(0, kept).contiguous();
    patches.pixels = at::from_blob(batch->pixels.data(), {batch->count, size, size, batch->channels}, at::kByte)
                         .index_select(0, kept);
    at::Tensor masks = at::empty({static_cast<int64_t>(rows.size()), size, size}, at::kByte);
    for (size_t i = 0; i < rows.size(); ++i) {
      TEC_ASSIGN_OR_RETURN(const Image mask, pictures->ReadMask(patches.indices[i]));
      ResizeNearest(mask, static_cast<int>(size), static_cast<int>(size),
                    masks.mutable_data_ptr<uint8_t>() + static_cast<int64_t>(i) * size * size);
    }
    patches.labels = PatchesOf(masks, vit.patch_size);
    TEC_RETURN_IF_ERROR(sink(patches));
  }
}

at::Tensor PatchesOf(const at::Tensor& masks, int64_t patch_size) {
  const int64_t n = masks.size(0), grid = masks.size(1) / patch_size;
  return masks.view({n, grid, patch_size, grid, patch_size})
      .permute({0, 1, 3, 2, 4})
      .reshape({n, grid * grid, patch_size * patch_size});
}

at::Tensor MasksOf(const at::Tensor& patches, int64_t patch_size) {
  const int64_t n = patches.size(0), grid = std::lround(std::sqrt(static_cast<double>(patches.size(1))));
  return patches.view({n, grid, grid, patch_size, patch_size})
      .permute({0, 1, 3, 2, 4})
      .reshape({n, grid * patch_size, grid * patch_size});
}

at::Tensor MostFrequent(const at::Tensor& numbers) {
  TEC_CHECK(numbers.dim() == 2 && numbers.size(1) > 0 && numbers.scalar_type() == at::kByte);
  const at::Tensor rows = numbers.contiguous();
  at::Tensor result = at::empty({rows.size(0)}, at::kByte);
  const int64_t width = rows.size(1);
  for (int64_t r = 0; r < rows.size(0); ++r) {
    const uint8_t* row = rows.const_data_ptr<uint8_t>() + r * width;
    std::array<int32_t, 256> counts = {};
    for (int64_t i = 0; i < width; ++i) ++counts[row[i]];
    result.mutable_data_ptr<uint8_t>()[r] =
        static_cast<uint8_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  }
  return result;
}

}  // namespace tec
