// Softmax over rows of bfloat16 logits and its gradient, in vector instructions chosen when the program runs. Knows
// nothing of LibTorch; attention_weights.h is for those who have tensors.
//
// All arithmetic is float32 and the same whatever the length of a vector, as long as it has fused multiply-adds (every
// x86 processor that this project is compiled for has): sums are of 16 parts, element i in part i mod 16, which are
// added up in halves.

#ifndef TEC_NN_ATTENTION_WEIGHTS_KERNELS_H_
#define TEC_NN_ATTENTION_WEIGHTS_KERNELS_H_

#include <cstdint>
#include <vector>

namespace tec {

// Row r has the arguments x = logits[r] * scale + bias[r mod bias_rows], its weights are exp(x - max x) / sum. 16-bit
// values are bfloat16, rounded to the nearest.
struct AttentionRows {
  int64_t keys;  // At least 1.
  float scale;
  const float* bias;  // [bias_rows, keys] or null.
  int64_t bias_rows;
  const uint16_t* logits;  // [rows, keys]
  float* range;            // [rows, 2]: max x, 1 / sum. Null if not wanted; backward needs it.
};

// weights [rows, keys], which may be the logits themselves. Rows from `begin` to `end`.
void AttentionWeightRows(const AttentionRows& a, int64_t begin, int64_t end, uint16_t* weights);

// Of the gradient d_weights [rows, keys], and the unrounded weights p made anew: d_logits [rows, keys] is
// scale * p * (d_weights - sum of p * d_weights), which may be d_weights itself. Rows begin, begin + step, ... before
// `end`; d_bias [keys], if not null, has the sum over them, in that order, of the same without the scale.
void AttentionWeightRowsBackward(const AttentionRows& a, int64_t begin, int64_t end, int64_t step,
                                 const uint16_t* d_weights, uint16_t* d_logits, float* d_bias);

// For tests: the targets with fused multiply-adds that this machine can run, as Highway's bits, and their choice (0:
// the best).
std::vector<int64_t> AttentionWeightTargets();
void UseAttentionWeightTargetForTest(int64_t target);

}  // namespace tec

#endif  // TEC_NN_ATTENTION_WEIGHTS_KERNELS_H_
