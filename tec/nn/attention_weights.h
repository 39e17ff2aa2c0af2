// The softmax of attention where its logits lie in memory: on the CPU in bfloat16 (modules.cc).

#ifndef TEC_NN_ATTENTION_WEIGHTS_H_
#define TEC_NN_ATTENTION_WEIGHTS_H_

#include "ATen/core/Tensor.h"

namespace tec {

// softmax(logits * scale + bias) over the last dimension, computed in float32 and rounded once: one pass for what would
// be a multiplication, a cast up, an addition, a softmax and a cast down, each over all of the logits.
//
// logits [N, H, T, T'], bfloat16 on the CPU; bias [H, T, T'] float32, or undefined. The result is bfloat16. Where no
// gradient is recorded it takes the place of the logits, which the caller gives up.
//
// Backward keeps the logits and two numbers a row and makes the unrounded probabilities again from them. d_logits is
// bfloat16, rounded once; the gradient of the bias is float32, summed over the images in their order.
//
// The bits of all results do not depend on the number of threads, nor on the length of the processor's vectors
// (attention_weights_kernels.h). Relative error of a weight before it is rounded: some 5e-7, and 6e-8 times the sizes
// of its argument and of the row's largest and their distance, which float32 rounds. A row with a NaN is NaN.
at::Tensor AttentionWeights(at::Tensor logits, double scale, const at::Tensor& bias);

}  // namespace tec

#endif  // TEC_NN_ATTENTION_WEIGHTS_H_
