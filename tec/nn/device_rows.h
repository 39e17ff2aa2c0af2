// For .cu files: loads and stores of a few elements at once, sums over a block, sums over rows.

#ifndef TEC_NN_DEVICE_ROWS_H_
#define TEC_NN_DEVICE_ROWS_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

constexpr int kWarp = 32, kMostThreads = 256;
// What a block may have of shared memory without asking for it.
constexpr int64_t kSharedBytes = 48 * 1024 - 1024;
// Columns that a thread takes at once where widths allow it.
constexpr int kVector = 4;

__device__ inline float Wide(float x) { return x; }
__device__ inline double Wide(double x) { return x; }
__device__ inline float Wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float Wide(__half x) { return __half2float(x); }

__device__ inline void Narrow(float x, float* out) { *out = x; }
__device__ inline void Narrow(double x, double* out) { *out = x; }
__device__ inline void Narrow(float x, __nv_bfloat16* out) { *out = __float2bfloat16_rn(x); }
__device__ inline void Narrow(float x, __half* out) { *out = __float2half_rn(x); }

// Division and root as on the CPU, whatever the compiler's flags.
__device__ inline float Quotient(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline double Quotient(double a, double b) { return a / b; }
__device__ inline float Root(float x) { return __fsqrt_rn(x); }
__device__ inline double Root(double x) { return sqrt(x); }

template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

// V elements from `at` on, which is aligned to that many.
template <int V, typename A, typename T>
__device__ inline void Load(const T* at, A* out) {
  const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(at);
#pragma unroll
  for (int k = 0; k < V; ++k) out[k] = Wide(pack.v[k]);
}

template <int V, typename A, typename T>
__device__ inline void Store(const A* in, T* at) {
  Pack<T, V> pack;
#pragma unroll
  for (int k = 0; k < V; ++k) Narrow(in[k], &pack.v[k]);
  *reinterpret_cast<Pack<T, V>*>(at) = pack;
}

// Where column `c` of a row lies.
template <typename T>
__device__ inline T* At(const RowParts& parts, int64_t row, int64_t c) {
  if (parts.count == 1) return static_cast<T*>(parts.at[0]) + row * parts.width + c;
  const int64_t part = c / parts.width;
  return static_cast<T*>(parts.at[part]) + row * parts.width + (c - part * parts.width);
}

// The sum over the block's threads, in each of them. All threads call it.
template <typename A>
__device__ inline A BlockSum(A x) {
  __shared__ A sums[kMostThreads / kWarp];
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_down_sync(0xffffffffu, x, offset);
  __syncthreads();  // Those of the call before have been read.
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = x;
  __syncthreads();
  A total = 0;
  for (int w = 0; w < blockDim.x / kWarp; ++w) total += sums[w];
  return total;
}

// out[c] = the sum over `parts` rows of scratch [parts, size], for the columns [begin, end). Each warp of a block takes
// some of the rows: one after another they would wait for memory some hundred times.
constexpr int kSummingWarps = 8;

template <typename A>
__global__ void SumPartsKernel(const A* __restrict__ scratch, int64_t parts, int64_t size, int64_t begin, int64_t end,
                               A* __restrict__ out) {
  __shared__ A sums[kSummingWarps][kWarp];
  const int64_t c = begin + static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  A sum = 0;
  if (c < end) {
#pragma unroll 4
    for (int64_t part = threadIdx.y; part < parts; part += kSummingWarps) sum += scratch[part * size + c];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= end) return;
  for (int w = 1; w < kSummingWarps; ++w) sum += sums[w][threadIdx.x];
  out[c] = sum;
}

template <typename A>
void SumParts(const void* scratch, int64_t parts, int64_t size, int64_t begin, int64_t end, void* out,
              cudaStream_t stream) {
  if (end <= begin) return;
  SumPartsKernel<A>
      <<<static_cast<unsigned>((end - begin + kWarp - 1) / kWarp), dim3(kWarp, kSummingWarps), 0, stream>>>(
          static_cast<const A*>(scratch), parts, size, begin, end, static_cast<A*>(out));
}

// Whole warps, one thread for `vector` columns, at most kMostThreads.
inline int ThreadsFor(int64_t width, int vector) {
  const int64_t threads = (width / vector + kWarp - 1) / kWarp * kWarp;
  return static_cast<int>(std::max<int64_t>(kWarp, std::min<int64_t>(kMostThreads, threads)));
}

// Whether rows of this width that begin here may be taken kVector elements at a time, of whatever type.
inline bool IsAligned(const void* at, int64_t width) {
  return reinterpret_cast<uintptr_t>(at) % (kVector * sizeof(double)) == 0 && width % kVector == 0;
}
inline bool IsAligned(const RowParts& parts) {
  for (int64_t i = 0; i < parts.count; ++i) {
    if (!IsAligned(parts.at[i], parts.width)) return false;
  }
  return true;
}

inline const char* LastError() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace tec

#endif  // TEC_NN_DEVICE_ROWS_H_
