#include "eval/finetune/batch_augmentation.h"

#include <vector>

#include "ATen/ATen.h"
#include "tec/base/random.h"
#include "tec/nn/parallel.h"

namespace tec {

BatchDraws DrawBatch(const FinetuneAugmentation& augmentation, const config::Finetune& settings, const Batch& batch,
                     int64_t epoch, int64_t batch_of_all_ranks) {
  const auto seed = static_cast<uint64_t>(settings.seed()), in_epoch = static_cast<uint64_t>(epoch);
  BatchDraws draws;
  if (augmentation.erasing.probability > 0) {
    std::vector<std::vector<ErasedBox>> boxes(batch.count);
    // Each image has a stream of its own: the number of threads changes nothing.
    at::parallel_for(0, batch.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        RandomStream stream(RandomKey{seed, RandomPurpose::kErase, in_epoch, static_cast<uint64_t>(batch.indices[n])});
        boxes[n] = DrawErasing(augmentation.erasing, batch.size, batch.size, stream);
      }
    });
    draws.erased = PixelsOf(boxes, batch.channels, batch.size, batch.size);
  }
  if (augmentation.mixing.any()) {
    RandomStream stream(RandomKey{seed, RandomPurpose::kMix, in_epoch, static_cast<uint64_t>(batch_of_all_ranks)});
    draws.mixes = DrawMixes(augmentation.mixing, batch.count, batch.size, batch.size, stream);
    draws.shares = MixShares(draws.mixes);
  }
  return draws;
}

void AugmentBatch(const BatchDraws& draws, const config::Finetune& settings, at::Tensor* images, at::Tensor* targets) {
  ErasePixels(draws.erased, *images);
  if (draws.mixes.empty()) return;
  *images = MixImages(*images, draws.mixes);
  *targets =
      MixTargets(*targets, settings.nb_classes(), settings.augmentation().smoothing(), draws.mixes, draws.shares);
}

}  // namespace tec
