// The losses: pure functions of tensors, computed and reduced in float32 whatever the dtype of their arguments (the
// distances to a base model in float64 where its targets are). Each returns a 0-dim tensor. (recipe.md sections 5, 13.4
// and 15)

#ifndef TEC_LOSSES_LOSSES_H_
#define TEC_LOSSES_LOSSES_H_

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace tec {

// Targets are standardised over the tokens, per image and channel (unbiased variance, + 1e-6 inside the root), over all
// L patches; the squared error, averaged over channels, is averaged over the removed patches of the batch.
// prediction [N, p+L, C], of which the first p tokens play no part; target [N, L, C]; mask [N, L], 1 removed. At least
// one patch must be removed. No gradient of the target. One pass each way over the patches that are removed.
at::Tensor FeatureLoss(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask);

struct RelationLosses {
  // Cross-entropy between softmax(target_logits / tau) and softmax(logits) over the keys, averaged over images, queries
  // and heads.
  at::Tensor loss;
  at::Tensor target_entropy;  // Which it cannot fall below; without gradient.
};

// tau divides the target alone; masked and visible queries count alike. Both [N, 1, 1+K, H, L]. No gradient of the
// target. One pass each way.
RelationLosses RelationLossOf(const at::Tensor& logits, const at::Tensor& target_logits, double tau);
inline at::Tensor RelationLoss(const at::Tensor& logits, const at::Tensor& target_logits, double tau) {
  return RelationLossOf(logits, target_logits, tau).loss;
}

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
