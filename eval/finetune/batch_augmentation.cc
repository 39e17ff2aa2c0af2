#include "eval/finetune/batch_augmentation.h"

#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "eval/finetune/mix_batch.h"
#include "tec/base/random.h"

namespace tec {

void AugmentBatch(const FinetuneAugmentation& augmentation, const config::Finetune& settings, const Batch& batch,
                  int64_t epoch, int64_t batch_of_all_ranks, at::Tensor* images, at::Tensor* targets) {
  const auto seed = static_cast<uint64_t>(settings.seed()), in_epoch = static_cast<uint64_t>(epoch);
  if (augmentation.erasing.probability > 0) {
    std::vector<std::vector<ErasedBox>> boxes(batch.count);
    // Each image has a stream of its own: the number of threads changes nothing.
    at::parallel_for(0, batch.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        RandomStream stream(RandomKey{seed, RandomPurpose::kErase, in_epoch, static_cast<uint64_t>(batch.indices[n])});
        boxes[n] = DrawErasing(augmentation.erasing, batch.size, batch.size, stream);
      }
    });
    EraseBoxes(boxes, *images);
  }
  if (augmentation.mixing.any()) {
    RandomStream stream(RandomKey{seed, RandomPurpose::kMix, in_epoch, static_cast<uint64_t>(batch_of_all_ranks)});
    const std::vector<Mix> mixes = DrawMixes(augmentation.mixing, batch.count, batch.size, batch.size, stream);
    *images = MixImages(*images, mixes);
    *targets = MixTargets(*targets, settings.nb_classes(), settings.augmentation().smoothing(), mixes);
  }
}

}  // namespace tec
