// What finetuning does to a batch that is on the device already: erasing, mixing of pictures and targets.

#ifndef TEC_EVAL_FINETUNE_BATCH_AUGMENTATION_H_
#define TEC_EVAL_FINETUNE_BATCH_AUGMENTATION_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "data/loader/loader.h"
#include "eval/finetune/augmentation.h"
#include "eval/finetune/mix_batch.h"
#include "tec/config/finetune.pb.h"

namespace tec {

// What is random about a batch. On the CPU, from where its tensors go to the device with the pixels.
struct BatchDraws {
  ErasedPixels erased;
  std::vector<Mix> mixes;  // None: nothing is mixed.
  at::Tensor shares;       // MixShares(mixes).
};
// A function of the seed, the epoch, the batch's indices and batch_of_all_ranks, its number in the epoch among those of
// all ranks.
BatchDraws DrawBatch(const FinetuneAugmentation& augmentation, const config::Finetune& settings, const Batch& batch,
                     int64_t epoch, int64_t batch_of_all_ranks);

// images: float32 [N, c, S, S], normalised, those of the batch; targets: int64 [N] labels, whose place soft targets,
// float32 [N, nb_classes], take where mixing is on. The tensors of `draws` are on the same device.
void AugmentBatch(const BatchDraws& draws, const config::Finetune& settings, at::Tensor* images, at::Tensor* targets);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_BATCH_AUGMENTATION_H_
