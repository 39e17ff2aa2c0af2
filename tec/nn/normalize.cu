// The kernel of normalize_cuda.h. It is bound by memory: a pixel's bytes are read once and each plane is written
// in order, in place of the permute, convert, divide, subtract and divide that LibTorch would run one after another.

#include <cuda_runtime.h>

#include <algorithm>

#include "tec/nn/normalize_cuda.h"

namespace tec {
namespace {

constexpr int kThreads = 256;

// By value into constant memory: no copy to the device to wait for.
constexpr int kMostChannels = 64;
struct Statistics {
  int channels;
  float mean[kMostChannels];
  float std[kMostChannels];
};

// blockIdx.y, strided: image. blockIdx.x, strided: kThreads pixels of it. The intrinsics forbid the reciprocals and
// fused operations that would give other bits than the CPU's.
__global__ void NormalizePixelsKernel(const uint8_t* __restrict__ pixels, int64_t images, int64_t area,
                                      Statistics statistics, float* __restrict__ out) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int channels = statistics.channels;
  for (int64_t n = blockIdx.y; n < images; n += gridDim.y) {
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < area; i += stride) {
      const uint8_t* pixel = pixels + (n * area + i) * channels;
      for (int c = 0; c < channels; ++c) {
        const float unit = __fdiv_rn(static_cast<float>(pixel[c]), 255.0f);
        out[(n * channels + c) * area + i] = __fdiv_rn(__fsub_rn(unit, statistics.mean[c]), statistics.std[c]);
      }
    }
  }
}

}  // namespace

const char* LaunchNormalizePixels(const uint8_t* pixels, int64_t images, int64_t area, int channels, const float* mean,
                                  const float* std, float* out, void* stream) {
  if (channels < 1 || channels > kMostChannels) return "more channels than the kernel takes";
  if (images == 0 || area == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  Statistics statistics;
  statistics.channels = channels;
  std::copy(mean, mean + channels, statistics.mean);
  std::copy(std, std + channels, statistics.std);
  const dim3 blocks(static_cast<unsigned>(std::min<int64_t>((area + kThreads - 1) / kThreads, 1024)),
                    static_cast<unsigned>(std::min<int64_t>(images, 65535)));  // CUDA's limit for y.
  NormalizePixelsKernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(pixels, images, area, statistics,
                                                                                    out);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace tec
