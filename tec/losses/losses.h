// The losses: pure functions of tensors, computed and reduced in float32 whatever the dtype of their arguments. Each
// returns a 0-dim tensor. (recipe.md sections 5, 13.4 and 15)

#ifndef TEC_LOSSES_LOSSES_H_
#define TEC_LOSSES_LOSSES_H_

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace tec {

// Targets are standardised over the tokens, per image and channel (unbiased variance, + 1e-6 inside the root), over all
// L patches; the squared error, averaged over channels, is averaged over the removed patches of the batch. prediction,
// target [N, L, C]; mask [N, L], 1 removed. At least one patch must be removed.
at::Tensor FeatureLoss(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask);

// Cross-entropy between softmax(target_logits / tau) and softmax(logits) over the keys, averaged over images, queries
// and heads. tau divides the target alone; masked and visible queries count alike. Both [N, 1, 1+K, H, L].
at::Tensor RelationLoss(const at::Tensor& logits, const at::Tensor& target_logits, double tau);

// The entropy of its target, which that loss cannot fall below: 0-dim, without gradient. Arguments as there.
at::Tensor RelationTargetEntropy(const at::Tensor& target_logits, double tau);

// images [N, c, S, S] -> [N, L, P*P*c]: patches row-major; inside a patch row, column, channel.
at::Tensor Patchify(const at::Tensor& images, int64_t patch_size);

// Squared error, averaged over a patch's values and then over the removed patches. norm_pix: each target patch is
// standardised over its values (unbiased variance, + 1e-6 inside the root). prediction [N, L, P*P*c]; mask [N, L].
at::Tensor PixelLoss(const at::Tensor& prediction, const at::Tensor& images, const at::Tensor& mask, int64_t patch_size,
                     bool norm_pix);

// mean over images of -sum over classes of targets * log_softmax(logits). Both [N, classes].
at::Tensor SoftTargetCrossEntropy(const at::Tensor& logits, const at::Tensor& targets);

// (1 - smoothing) * negative log-likelihood + smoothing * mean over classes of -log_softmax(logits); smoothing 0 is
// plain cross-entropy. logits [N, classes], labels I64 [N].
at::Tensor LabelSmoothingCrossEntropy(const at::Tensor& logits, const at::Tensor& labels, double smoothing);

}  // namespace tec

#endif  // TEC_LOSSES_LOSSES_H_
