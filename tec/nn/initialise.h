// Initial values as a function of the seed: each parameter is drawn from a stream of its own, keyed by its place in the
// state dict, so that they depend on neither thread count nor the order of construction. No global generator is used.

#ifndef TEC_NN_INITIALISE_H_
#define TEC_NN_INITIALISE_H_

#include <cstdint>

#include "torch/nn/module.h"

namespace tec {

// New models and MAE (recipe.md section 4): Linear weights xavier-uniform on the stored matrix, biases 0; norms 1 and
// 0; patch_embed.proj.weight xavier-uniform as [C, c*P*P], its bias U(-b, b), b = 1/sqrt(c*P*P); cls_token and
// mask_tokens normal(0, 0.02). Frozen position tables are left as they are.
void InitialisePretraining(torch::nn::Module& model, uint64_t seed);

// Classifiers before a checkpoint is read (recipe.md section 13.1): Linear weights and cls_token truncated normal 0.02,
// biases 0; norms 1 and 0; patch_embed and cls_token_mlp uniform in +-1/sqrt(fan_in), weights and biases alike
// (PyTorch's defaults). Frozen position tables are left as they are.
void InitialiseFinetuning(torch::nn::Module& model, uint64_t seed);

// Normal(0, std) cut at +-2 (an absolute bound, as timm's default has it; no cut in practice for a small std), from the
// stream of parameter number `index`.
void FillTruncatedNormal(at::Tensor tensor, double std, uint64_t seed, uint64_t index);

}  // namespace tec

#endif  // TEC_NN_INITIALISE_H_
