// What a finetuning checkpoint says to the reference's scripts about the run that wrote it. No tensors.

#ifndef TEC_EVAL_FINETUNE_FINETUNE_RECORD_H_
#define TEC_EVAL_FINETUNE_FINETUNE_RECORD_H_

#include "tec/checkpoint/value.h"
#include "tec/config/finetune.pb.h"

namespace tec {

// The reference's args, so that its scripts find what they look for. No paths: equal runs write equal files.
Value ReferenceArguments(const config::Finetune& finetune);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_RECORD_H_
