// One finetuning step as //eval:finetune does it, on made-up images: erasing, mixing, forward with stochastic depth,
// backward, gradient norm, AdamW with layer-wise decay. What benchmarks measure and count.

#ifndef TEC_BENCHMARKS_EVAL_FINETUNING_STEP_H_
#define TEC_BENCHMARKS_EVAL_FINETUNING_STEP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "data/augment/mix.h"
#include "data/augment/random_erasing.h"
#include "eval/finetune/finetune_step.h"
#include "tec/models/encoder.h"
#include "tec/optim/adamw.h"

namespace tec {

struct FinetuningStepOptions {
  VitOptions encoder;
  at::ScalarType precision = at::kFloat;
  // A quarter of the images erased in a box of noise, and the batch mixed by mixup, as the recipe's mean; else neither.
  bool augment = true;
};

class FinetuningStep {
 public:
  // 1000 classes, drop path 0.1, labels smoothed by 0.1, layer decay 0.65. An even number of images.
  FinetuningStep(const FinetuningStepOptions& options, int64_t batch, c10::Device device);

  // Returns the loss and the gradient's norm.
  struct Result {
    at::Tensor loss;
    double gradient_norm;
  };
  Result Run();

 private:
  FinetuningStepOptions options_;
  c10::Device device_;
  FinetuneModel model_;
  AdamW optimizer_;
  std::unique_ptr<FinetuneStep> step_;
  std::vector<int64_t> samples_;
  at::Tensor pixels_, labels_;  // U8 [N, S, S, 3] and I64 [N], on the host.
  std::vector<std::vector<ErasedBox>> boxes_;
  std::vector<Mix> mixes_;
  uint64_t epoch_ = 0;
};

}  // namespace tec

#endif  // TEC_BENCHMARKS_EVAL_FINETUNING_STEP_H_
