// From a loader's batch to what a model sees, on the model's device.

#ifndef TEC_DATA_LOADER_BATCH_IMAGES_H_
#define TEC_DATA_LOADER_BATCH_IMAGES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "data/loader/loader.h"

namespace tec {

// For LoaderOptions::allocate. For a CUDA device and with `pin`: page-locked memory, which the device reads by itself,
// without a copy by the processor in between. Otherwise empty, ordinary memory.
std::function<std::shared_ptr<uint8_t>(size_t bytes)> BatchMemory(const at::Device& device, bool pin);

// The batch normalised (tec/nn/normalize.h): float32 [N, channels, size, size] on `device`. The bytes cross to the
// device, not the floats, and have arrived when this returns: the batch may be given back. mean, std: [channels].
at::Tensor BatchImages(const Batch& batch, const at::Device& device, absl::Span<const float> mean,
                       absl::Span<const float> std);

}  // namespace tec

#endif  // TEC_DATA_LOADER_BATCH_IMAGES_H_
