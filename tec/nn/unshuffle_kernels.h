// The kernels of Unshuffle (masked_tokens.h): on the CPU (unshuffle_cpu.cc) and on CUDA (unshuffle.cu), behind a header
// that knows neither LibTorch nor CUDA.

#ifndef TEC_NN_UNSHUFFLE_KERNELS_H_
#define TEC_NN_UNSHUFFLE_KERNELS_H_

#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

constexpr int kMostSequences = 4;

// For sequence m, image n, patch l and r = restore[n, l]:
//
//   out[m, n, 0] = x[m][n, 0] + positions[0]
//   out[m, n, 1 + l] = (r < visible ? x[m][n, 1 + r] : mask_token[m]) + positions[1 + l]
struct UnshuffleForward {
  Element type, x_type;  // Of mask tokens, positions and result, kFloat or kDouble; of x.
  int64_t sequences, images, patches, visible, width;
  const int64_t* restore;                  // [images, patches]
  const void* x[kMostSequences];           // [images, 1 + visible, width]
  const void* mask_token[kMostSequences];  // [width]
  const void* positions;                   // [1 + patches, width]
  void* out;                               // [sequences, images, 1 + patches, width]
};

// Its gradients: each row of d_out goes to one row of d_x, or is added to its sequence's column sums.
struct UnshuffleBackward {
  Element type, x_type;
  int64_t sequences, images, patches, visible, width;
  const int64_t* restore;
  const void* d_out;
  void* d_x[kMostSequences];
  void* columns;  // [sequences, width] of `type`: the gradients of the mask tokens.
  void* scratch;  // [kCpuColumnParts or kCudaColumnParts, sequences, width] of `type`.
};

void RunUnshuffle(const UnshuffleForward& arguments);
void RunUnshuffleBackward(const UnshuffleBackward& arguments);

// Enqueue on `stream` (a cudaStream_t) of the current device. Null, or CUDA's message if a launch failed.
const char* LaunchUnshuffle(const UnshuffleForward& arguments, void* stream);
const char* LaunchUnshuffleBackward(const UnshuffleBackward& arguments, void* stream);

}  // namespace tec

#endif  // TEC_NN_UNSHUFFLE_KERNELS_H_
