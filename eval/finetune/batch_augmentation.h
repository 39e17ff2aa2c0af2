// What finetuning does to a batch that is on the device already: erasing, mixing of pictures and targets.

#ifndef TEC_EVAL_FINETUNE_BATCH_AUGMENTATION_H_
#define TEC_EVAL_FINETUNE_BATCH_AUGMENTATION_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "data/loader/loader.h"
#include "eval/finetune/augmentation.h"
#include "tec/config/finetune.pb.h"

namespace tec {

// images: float32 [N, c, S, S], normalised, those of `batch`; targets: int64 [N] labels, whose place soft targets,
// float32 [N, nb_classes], take where mixing is on. batch_of_all_ranks: the batch's number in the epoch among those of
// all ranks. What is drawn is a function of the seed, the epoch, that number and the batch's indices.
void AugmentBatch(const FinetuneAugmentation& augmentation, const config::Finetune& settings, const Batch& batch,
                  int64_t epoch, int64_t batch_of_all_ranks, at::Tensor* images, at::Tensor* targets);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_BATCH_AUGMENTATION_H_
