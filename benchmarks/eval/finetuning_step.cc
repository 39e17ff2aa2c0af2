#include "benchmarks/eval/finetuning_step.h"

#include <cmath>
#include <utility>

#include "ATen/ATen.h"
#include "eval/finetune/mix_batch.h"
#include "tec/nn/drop_path.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/nn/normalize.h"
#include "tec/optim/parameter_groups.h"

namespace tec {
namespace {

constexpr int64_t kClasses = 1000;
constexpr double kSmoothing = 0.1;

FinetuneOptions ModelOptions(const VitOptions& encoder) {
  FinetuneOptions options;
  options.encoder = encoder;
  options.classes = kClasses;
  options.drop_path = 0.1;
  return options;
}

std::vector<ParameterGroup> Prepare(FinetuneModel& model, c10::Device device) {
  InitialiseFinetuning(model, /*seed=*/1);
  model.to(device);
  return FinetuningGroups(NamedTrainable(model), model.options().encoder.depth, 0.05, 0.65);
}

}  // namespace

FinetuningStep::FinetuningStep(const FinetuningStepOptions& options, int64_t batch, c10::Device device)
    : options_(options),
      device_(device),
      model_(ModelOptions(options.encoder)),
      optimizer_(Prepare(model_, device), {0.9, 0.999, 1e-8}) {
  FinetuneStepOptions step;
  step.smoothing = kSmoothing;
  step.precision = options.precision;
  step_ = std::make_unique<FinetuneStep>(model_, optimizer_, step);
  const int64_t side = options.encoder.image_size;
  pixels_ = (at::arange(batch * side * side * 3, at::kLong) * 37).remainder(251).to(at::kByte);
  pixels_ = pixels_.view({batch, side, side, 3});
  labels_ = at::arange(batch, at::kLong).remainder(kClasses);
  if (device.is_cuda()) pixels_ = pixels_.pin_memory();
  boxes_.resize(batch);
  for (int64_t i = 0; i < batch; ++i) {
    samples_.push_back(i);
    if (i % 4 != 0) continue;
    ErasedBox erased;
    erased.box.top = erased.box.left = side / 4;
    erased.box.height = erased.box.width = side / 3;
    for (int64_t k = 0; k < 3 * erased.box.height * erased.box.width; ++k) {
      erased.values.push_back(std::sin(static_cast<float>(k)));
    }
    boxes_[i].push_back(std::move(erased));
  }
  mixes_.resize(1);
  mixes_[0].kind = Mix::Kind::kMixup;
  mixes_[0].lambda = 0.7;
}

FinetuningStep::Result FinetuningStep::Run() {
  at::Tensor images = NormalizePixels(pixels_.to(device_, /*non_blocking=*/true), kImageNetMean, kImageNetStd);
  at::Tensor targets = labels_.to(device_);
  if (options_.augment) {
    EraseBoxes(boxes_, images);
    images = MixImages(images, mixes_);
    targets = MixTargets(targets, kClasses, kSmoothing, mixes_);
  }
  const at::Tensor uniforms = DropPathUniforms(/*seed=*/1, epoch_++, samples_, options_.encoder.depth).to(device_);
  Result result;
  result.loss = step_->Accumulate(images, targets, uniforms);
  result.gradient_norm = *step_->Finish(/*lr=*/1e-4).Read().grad_norm;
  return result;
}

}  // namespace tec
