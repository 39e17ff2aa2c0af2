// The arithmetic of AdamW: one pass over parameters, gradients and moments, which also writes the copies of low
// precision that the next forward pass takes.

#ifndef TEC_OPTIM_ADAMW_UPDATE_H_
#define TEC_OPTIM_ADAMW_UPDATE_H_

#include <vector>

#include "ATen/core/Tensor.h"

namespace tec {

struct AdamWOptions {
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
};

// One parameter's part in an update.
struct AdamWPart {
  at::Tensor parameter;            // Contiguous.
  at::Tensor gradient;             // Of its type and shape, in any order.
  at::Tensor exp_avg, exp_avg_sq;  // Like the parameter.
  at::Tensor step;                 // 0-dim: number of this update, from 1 on.
  at::Tensor copy;                 // Contiguous, of the parameter's shape; all of one type, or undefined.
  double lr = 0, weight_decay = 0;
};

// Updates parameters and moments as at::_fused_adamw_ does, on the CPU to the bit, and rounds the parameters into the
// copies. All on one device, on CUDA in float32. not_finite, F32: where it is 1 nothing changes; undefined: never.
// TEC_CHECK-fails for tensors that are not contiguous.
void UpdateByAdamW(std::vector<AdamWPart> parts, const AdamWOptions& options, const at::Tensor& not_finite);

}  // namespace tec

#endif  // TEC_OPTIM_ADAMW_UPDATE_H_
