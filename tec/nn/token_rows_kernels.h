// The kernels of token_rows.h: on the CPU (token_rows_cpu.cc) and on CUDA (token_rows.cu), behind a header that knows
// neither LibTorch nor CUDA.

#ifndef TEC_NN_TOKEN_ROWS_KERNELS_H_
#define TEC_NN_TOKEN_ROWS_KERNELS_H_

#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

// With h = 1 where there is a token, else 0:
//
//   out[n, 0] = token
//   out[n, h + i] = x[n, i] + positions[1 + (keep[n, i], or i)]
struct EmbedTokensArguments {
  Element type, x_type;  // Of token, positions and result, kFloat or kDouble; of x.
  int64_t images, rows, width;
  const void* token;      // [width] or null.
  const void* x;          // [images, rows, width]
  const int64_t* keep;    // [images, rows] or null.
  const void* positions;  // [at least 1 + rows, width]
  void* out;              // [images, h + rows, width]
};

// out[n, t] = (the sum of x[j][n, first + t] over j, and of branch) / x.count, added up in that order but for the
// branch, which the last one gets before.
struct OutputMeanArguments {
  Element type, branch_type;
  int64_t images, tokens, first, width;
  RowParts x;          // Not side by side: each [images, tokens, width].
  const void* branch;  // [images, tokens, width] or null.
  void* out;           // [images, tokens - first, width]
};

// out = (x[0] + y[0]) + (x[1] + y[1]) + ..., from left to right.
struct PairSumArguments {
  Element type, x_type;  // Of the result, kFloat or kDouble, which it is added up in; of x and y.
  int64_t rows, width;
  RowParts x, y;  // Not side by side: each [rows, width].
  void* out;      // [rows, width]
};

void RunEmbedTokens(const EmbedTokensArguments& arguments);
void RunOutputMean(const OutputMeanArguments& arguments);
void RunPairSum(const PairSumArguments& arguments);

// Enqueue on `stream` (a cudaStream_t) of the current device. Null, or CUDA's message if a launch failed.
const char* LaunchEmbedTokens(const EmbedTokensArguments& arguments, void* stream);
const char* LaunchOutputMean(const OutputMeanArguments& arguments, void* stream);
const char* LaunchPairSum(const PairSumArguments& arguments, void* stream);

}  // namespace tec

#endif  // TEC_NN_TOKEN_ROWS_KERNELS_H_
