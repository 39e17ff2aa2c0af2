// The model of a finetuning run, with the shape and weights that its settings ask for.

#ifndef TEC_EVAL_FINETUNE_FINETUNE_MODELS_H_
#define TEC_EVAL_FINETUNE_FINETUNE_MODELS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"
#include "tec/checkpoint/value.h"
#include "tec/config/finetune.pb.h"
#include "tec/models/encoder.h"
#include "tec/run/run_context.h"

namespace tec {

struct FinetuneModels {
  std::shared_ptr<FinetuneModel> model;
  std::shared_ptr<FinetuneModel> average;  // Of the same shape; null without --model_ema. Its weights are to be set.
  Value encoder;                           // The record of the model's encoder (own_encoder.h), or None of a plain ViT.
};

// On the context's device. Without `resume` and eval, the model has the weights of settings->finetune, if that is
// given, else those of the seed; with, they are to be loaded. Fills in the shape of --model=from_checkpoint, which is
// that of `resume` or settings->finetune, mlp_token where it is unset, and norm_epsilon. Errors name the file or the
// flag.
absl::StatusOr<FinetuneModels> MakeFinetuneModels(config::Finetune* settings, const LoadedState* resume,
                                                  RunContext& context);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_MODELS_H_
