// One pretraining step of an experiment on made-up images: what benchmarks measure and count.

#ifndef TEC_BENCHMARKS_TRAIN_PRETRAINING_STEP_H_
#define TEC_BENCHMARKS_TRAIN_PRETRAINING_STEP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "tec/config/experiment.pb.h"
#include "tec/optim/adamw.h"
#include "tec/train/objective.h"

namespace tec {

// Resolved: the reference's tiny size for 32-pixel pictures; ViT-Ti/8 at 64 pixels with row B's decoder and losses,
// what a small machine trains; row B of the paper's table.
config::Experiment TinyExperiment();
config::Experiment TinyAt64Experiment();
config::Experiment RowBExperiment();

class PretrainingStep {
 public:
  // A resolved experiment of method TEC; its base model gets values of its own, whatever its path. The precision is the
  // experiment's.
  PretrainingStep(const config::Experiment& experiment, int64_t batch, c10::Device device);

  // `micro_steps` times base model, forward and backward, then gradient norm and update. Returns the last loss and the
  // norm, 0-dim, on the device, where they may not have been computed yet.
  struct Result {
    at::Tensor loss, gradient_norm;
  };
  // Around the last micro-step's backward pass: what a rank of several does there.
  struct Around {
    std::function<void()> before, after;
  };
  Result Run(int64_t micro_steps = 1, const Around& around = Around());

  const std::vector<at::Tensor>& parameters() const { return optimizer_->parameters(); }

 private:
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<AdamW> optimizer_;
  std::vector<int64_t> samples_;
  at::Tensor pixels_;  // U8 [N, S, S, 3], on the host: as the loader hands them over.
  c10::Device device_;
  uint64_t epoch_ = 0;
};

}  // namespace tec

#endif  // TEC_BENCHMARKS_TRAIN_PRETRAINING_STEP_H_
