// What a finetuning checkpoint says about the run that wrote it, and whether another run may go on from it. No tensors.

#ifndef TEC_EVAL_FINETUNE_FINETUNE_RECORD_H_
#define TEC_EVAL_FINETUNE_FINETUNE_RECORD_H_

#include <string>
#include <vector>

#include "tec/checkpoint/value.h"
#include "tec/config/finetune.pb.h"

namespace tec {

// `finetune` without what cannot change the weights: paths, thread counts, the device, logging and saving. This is what
// a checkpoint holds, so that equal runs in different folders write equal bytes.
config::Finetune WeightDeciding(const config::Finetune& finetune);

// The reference's args, so that its scripts find what they look for. No paths, for the same reason.
Value ReferenceArguments(const config::Finetune& finetune);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_RECORD_H_
