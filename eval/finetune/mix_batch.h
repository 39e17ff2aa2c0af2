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

// What boxes cover in a batch: I64 [M] places in images.flatten(), each once, and float32 [M] values. Undefined where
// there is nothing.
struct ErasedPixels {
  at::Tensor places, values;
};
// boxes: [N], each image's in order, the last one counting; of images [N, channels, rows, columns]. -> On the CPU.
ErasedPixels PixelsOf(const std::vector<std::vector<ErasedBox>>& boxes, int64_t channels, int64_t rows,
                      int64_t columns);
// images: float32 [N, c, S, S], of the device that `erased` is on.
void ErasePixels(const ErasedPixels& erased, const at::Tensor& images);
// Both. images: of any device.
void EraseBoxes(const std::vector<std::vector<ErasedBox>>& boxes, const at::Tensor& images);

// mixes: as DrawMixes gives them, one for the whole batch or one an image; the partner of image n is image N-1-n.

// float32 [N, c, S, S] -> the mixed images, same shape; a new tensor.
at::Tensor MixImages(const at::Tensor& images, const std::vector<Mix>& mixes);

// int64 [N] -> float32 [N, classes]: lambda * smoothed one-hot + (1 - lambda) * the partner's. Smoothed: smoothing /
// classes everywhere, and 1 - smoothing more for the label; 0 <= smoothing < 1.
// shares: MixShares(mixes), on the labels' device; by default they are made and brought there.
at::Tensor MixTargets(const at::Tensor& labels, int64_t classes, double smoothing, const std::vector<Mix>& mixes,
                      const at::Tensor& shares = {});
// float32 [N]: each image's lambda, on the CPU. Undefined for one mix of the whole batch.
at::Tensor MixShares(const std::vector<Mix>& mixes);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_MIX_BATCH_H_
