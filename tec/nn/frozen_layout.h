// How the matrices of a model that does not learn lie in memory.

#ifndef TEC_NN_FROZEN_LAYOUT_H_
#define TEC_NN_FROZEN_LAYOUT_H_

#include "torch/nn/module.h"

namespace tec {

// On a CPU with instructions for bfloat16 (HasBfloat16Instructions): lets the weight [out, in] of every Linear of two
// dimensions lie by its columns, as x weight^T reads it. oneDNN's products of it are then about a tenth faster, in
// float32 and in bfloat16 (docs/results.md). Shapes and values stay, and no memory is taken for longer than the call.
// For models that only go forward: the optimisers take weights that lie by their rows. Elsewhere: does nothing.
void LayOutForward(torch::nn::Module& model);

}  // namespace tec

#endif  // TEC_NN_FROZEN_LAYOUT_H_
