#include "data/loader/batch_images.h"

#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "tec/nn/normalize.h"

namespace tec {

std::function<std::shared_ptr<uint8_t>(size_t bytes)> BatchMemory(const at::Device& device, bool pin) {
  if (!pin || !device.is_cuda()) return nullptr;
  return [](size_t bytes) {
    const at::Tensor memory =
        at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
    return std::shared_ptr<uint8_t>(memory.mutable_data_ptr<uint8_t>(), [memory](uint8_t*) {});
  };
}

at::Tensor BatchImages(const Batch& batch, const at::Device& device, absl::Span<const float> mean,
                       absl::Span<const float> std) {
  const at::Tensor pixels =
      at::from_blob(batch.pixels.data(), {batch.count, batch.size, batch.size, batch.channels}, at::kByte);
  return NormalizePixels(pixels.to(device, /*non_blocking=*/false), mean, std);
}

}  // namespace tec
