// The CUDA half of normalize.h, behind a header that knows neither LibTorch nor CUDA.

#ifndef TEC_NN_NORMALIZE_CUDA_H_
#define TEC_NN_NORMALIZE_CUDA_H_

#include <array>
#include <cstdint>

namespace tec {

// Enqueues out[n, c, i] = (pixels[n, i, c] / 255 - mean[c]) / std[c] on `stream` (a cudaStream_t) of the current
// device.
//
//   pixels  [images, area, 3]  device memory, contiguous; area = H * W
//   out     [images, 3, area]  device memory, contiguous
//
// Returns nullptr, or CUDA's message if the launch failed.
const char* LaunchNormalizePixels(const uint8_t* pixels, int64_t images, int64_t area, const std::array<float, 3>& mean,
                                  const std::array<float, 3>& std, float* out, void* stream);

}  // namespace tec

#endif  // TEC_NN_NORMALIZE_CUDA_H_
