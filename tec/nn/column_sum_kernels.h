// Kernels that write a gradient and sum it over its rows in the same pass: the gradient of a bias. CPU:
// column_sum_cpu.cc; CUDA: column_sum.cu, behind a header that knows neither LibTorch nor CUDA.

#ifndef TEC_NN_COLUMN_SUM_KERNELS_H_
#define TEC_NN_COLUMN_SUM_KERNELS_H_

#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

// d_h = d_out * (d gelu / d h), columns = sum of d_h over the rows.
struct GeluBackward {
  Element type;
  int64_t rows, width;
  const void *h, *d_out;  // [rows, width]
  void* d_h;              // [rows, width]
  // Float32 (of kDouble: float64), both null where no sum is wanted:
  void* columns;  // [width]
  void* scratch;  // [kCpuColumnParts or kCudaColumnParts, width]
};

// d_x [rows, 3, heads, head_width] from the gradients of the three parts, columns = sum of d_x over the rows.
struct JoinHeads {
  Element type;
  int64_t images, tokens, heads, head_width;
  // Of each [images, heads, tokens, head_width], or null for zero; the last dimension contiguous, strides of the others
  // in elements.
  const void* part[3];
  int64_t image_stride[3], head_stride[3], token_stride[3];
  void* d_x;
  void *columns, *scratch;  // As above, width 3 * heads * head_width.
};

void RunGeluBackward(const GeluBackward& arguments);
void RunJoinHeads(const JoinHeads& arguments);

// Enqueue on `stream` (a cudaStream_t) of the current device. Null, or CUDA's message if a launch failed.
const char* LaunchGeluBackward(const GeluBackward& arguments, void* stream);
const char* LaunchJoinHeads(const JoinHeads& arguments, void* stream);

}  // namespace tec

#endif  // TEC_NN_COLUMN_SUM_KERNELS_H_
