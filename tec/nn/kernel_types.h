// What the headers of kernels share: element types and rows that lie in parts. Knows neither LibTorch nor CUDA.

#ifndef TEC_NN_KERNEL_TYPES_H_
#define TEC_NN_KERNEL_TYPES_H_

#include <cstdint>

namespace tec {

// kHalf on CUDA alone.
enum class Element { kFloat, kDouble, kBFloat16, kHalf };

// Rows of which each tensor of a list, [rows, width] and contiguous, holds `width` columns; one tensor for most.
constexpr int kMostParts = 64;
struct RowParts {
  void* at[kMostParts];
  int64_t count;  // 0: no such tensor.
  int64_t width;  // Of each part.
};

// Column sums over many rows are made in this many parts, each of consecutive (CPU) or strided (CUDA) rows, and then
// over the parts in their order: equal bits whatever the number of threads.
constexpr int64_t kCpuColumnParts = 32, kCudaColumnParts = 264;

}  // namespace tec

#endif  // TEC_NN_KERNEL_TYPES_H_
