// The CUDA kernel of adamw_update.h, behind a header that knows neither LibTorch nor CUDA. On the CPU there is
// LibTorch's own (adamw_update.cc).

#ifndef TEC_OPTIM_ADAMW_KERNELS_H_
#define TEC_OPTIM_ADAMW_KERNELS_H_

#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

// What one launch takes: as many as its arguments, 4 KB, have room for.
constexpr int kAdamWTensors = 48;

// Of each tensor, float32:
//
//   p -= lr weight_decay p
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p -= lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon);  copy = p, rounded
struct AdamWKernel {
  struct Tensor {
    float *parameter, *exp_avg, *exp_avg_sq;
    const float *gradient, *step;
    void* copy;  // Or null.
    int64_t size;
    float lr, weight_decay;
  };
  Tensor tensors[kAdamWTensors];
  int first_block[kAdamWTensors + 1];  // The launch's own.
  int count;
  Element copy_type;  // kBFloat16 or kHalf: of all copies.
  float beta1, beta2, epsilon;
  const float* not_finite;  // Or null: where it is 1 nothing is written.
};

// Enqueues on `stream` (a cudaStream_t) of the current device. Null, or CUDA's message if the launch failed.
const char* LaunchAdamW(AdamWKernel arguments, void* stream);

}  // namespace tec

#endif  // TEC_OPTIM_ADAMW_KERNELS_H_
