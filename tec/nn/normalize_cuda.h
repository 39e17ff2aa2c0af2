// The CUDA half of normalize.h, behind a header that knows neither LibTorch nor CUDA.

#ifndef TEC_NN_NORMALIZE_CUDA_H_
#define TEC_NN_NORMALIZE_CUDA_H_

#include <cstdint>

namespace tec {

// Enqueues out[n, c, i] = (pixels[n, i, c] / 255 - mean[c]) / std[c] on `stream` (a cudaStream_t) of the current
// device.
//
//   pixels     [images, area, channels]  device memory, contiguous; area = H * W, 1 to 64 channels
//   mean, std  [channels]                host memory
//   out        [images, channels, area]  device memory, contiguous
//
// Returns nullptr, or CUDA's message if the launch failed.
const char* LaunchNormalizePixels(const uint8_t* pixels, int64_t images, int64_t area, int channels, const float* mean,
                                  const float* std, float* out, void* stream);

}  // namespace tec

#endif  // TEC_NN_NORMALIZE_CUDA_H_
