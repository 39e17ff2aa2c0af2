// Random erasing, mixup and CutMix on a batch of normalised images and its labels, as drawn by data/augment (recipe.md
// sections 13.3 and 13.4). In float32, before autocast.

#ifndef TEC_EVAL_FINETUNE_MIX_BATCH_H_
#define TEC_EVAL_FINETUNE_MIX_BATCH_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "data/augment/mix.h"
#include "data/augment/random_erasing.h"

namespace tec {

// Overwrites boxes[n] of images[n], in order. images: float32 [N, c, S, S], of any device; boxes: [N].
void EraseBoxes(const std::vector<std::vector<ErasedBox>>& boxes, const at::Tensor& images);

// mixes: as DrawMixes gives them, one for the whole batch or one an image; the partner of image n is image N-1-n.

// float32 [N, c, S, S] -> the mixed images, same shape; a new tensor.
at::Tensor MixImages(const at::Tensor& images, const std::vector<Mix>& mixes);

// int64 [N] -> float32 [N, classes]: lambda * smoothed one-hot + (1 - lambda) * the partner's. Smoothed: smoothing /
// classes everywhere, and 1 - smoothing more for the label; 0 <= smoothing < 1.
at::Tensor MixTargets(const at::Tensor& labels, int64_t classes, double smoothing, const std::vector<Mix>& mixes);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_MIX_BATCH_H_
