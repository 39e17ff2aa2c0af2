// The kernels of residual_norm.h: on the CPU (residual_norm_cpu.cc) and, of the same arithmetic, on CUDA
// (residual_norm.cu), behind a header that knows neither LibTorch nor CUDA.

#ifndef TEC_NN_RESIDUAL_NORM_KERNELS_H_
#define TEC_NN_RESIDUAL_NORM_KERNELS_H_

#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

// Of each of `rows` rows r, with f = scale[r / rows_per_image] (1 without scale):
//
//   sum = (x + earlier) + f branch              (x itself where there is no branch)
//   normed = (sum - mean) rstd weight + bias
//
// mean over the width, rstd = 1 / sqrt(biased variance + epsilon). Everything is computed in `type`, kFloat or kDouble,
// which x, scale, sum, weight, bias, mean and rstd have too.
struct ResidualNormForward {
  Element type, branch_type, normed_type;
  int64_t rows, width, rows_per_image;
  double epsilon;
  RowParts x;           // A branch is added to one part only.
  const void* earlier;  // [rows, width] of branch_type, or null: only beside a branch.
  const void* branch;   // [rows, width] or null.
  const void* scale;    // [rows / rows_per_image] or null.
  void* sum;            // [rows, width]; null without a branch, or where it is not wanted.
  // Without weight there is no norm, and what follows is null.
  const void *weight, *bias;  // [width]
  RowParts normed;
  void *mean, *rstd;  // [rows]
};

// Its gradients, d_x = d_sum + d_more + (that through the norm), d_branch = f d_x, and sums over the rows:
// columns[0] = d_weight, columns[1] = d_bias, columns[2] = sum of f d_x before it is rounded, the gradient of a bias
// that went into the branch.
struct ResidualNormBackward {
  Element type, branch_type, normed_type;
  int64_t rows, width, rows_per_image;
  RowParts sum;                         // What the norm saw; count 0 without a norm.
  const void *mean, *rstd;              // [rows]
  const void* weight;                   // [width]; null without a norm.
  const void* scale;                    // As forward.
  const void *d_sum, *d_more;           // [rows, width], or null for zero; d_more only beside d_sum.
  RowParts d_normed;                    // Count 0 for zero.
  RowParts d_x;                         // Count 0 where it is d_sum itself.
  void* d_branch;                       // [rows, width], or null where it is d_x itself or there is no branch.
  bool weight_columns, branch_columns;  // Which sums are wanted.
  void* columns;                        // [3, width] of `type`; what is not wanted is left as it is.
  void* scratch;                        // [kCpuColumnParts or kCudaColumnParts, 3, width] of `type`.
};

void RunResidualNormForward(const ResidualNormForward& arguments);
void RunResidualNormBackward(const ResidualNormBackward& arguments);

// Enqueue on `stream` (a cudaStream_t) of the current device. Null, or CUDA's message if a launch failed.
const char* LaunchResidualNormForward(const ResidualNormForward& arguments, void* stream);
const char* LaunchResidualNormBackward(const ResidualNormBackward& arguments, void* stream);

}  // namespace tec

#endif  // TEC_NN_RESIDUAL_NORM_KERNELS_H_
