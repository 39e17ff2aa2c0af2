#include "benchmarks/train/pretraining_step.h"

#include <utility>

#include "ATen/ATen.h"
#include "tec/base/logging.h"
#include "tec/config/config.h"
#include "tec/models/factory.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/nn/normalize.h"
#include "tec/optim/gradients.h"
#include "tec/optim/parameter_groups.h"

namespace tec {
namespace {

// The reference's tiny size for 32-pixel pictures.
constexpr char kTiny[] = R"(
  method: TEC
  model {
    name: "custom" mlp_token: true pred_att: true
    encoder { image_size: 32 patch_size: 4 width: 128 depth: 6 heads: 4 }
    decoder { width: 64 depth: 2 heads: 4 }
  }
  base_model { name: "custom" topkatt: 9 encoder { image_size: 32 patch_size: 4 width: 128 depth: 6 heads: 4 } }
)";

// ViT-Ti/8 at 64 pixels with row B's decoder and losses: what a small machine trains.
constexpr char kTinyAt64[] = R"(
  method: TEC
  model {
    name: "custom" mlp_token: true pred_att: true
    encoder { image_size: 64 patch_size: 8 width: 192 depth: 12 heads: 3 }
    decoder { width: 512 depth: 2 heads: 16 }
  }
  base_model { name: "custom" topkatt: 15 encoder { image_size: 64 patch_size: 8 width: 192 depth: 12 heads: 3 } }
)";

// A frozen model has no initial values; small distinct weights do for a benchmark.
void Fill(const BaseModel& model) {
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : NamedState(model)) {
    if (name == "pos_embed") continue;
    const bool norm = tensor.dim() == 1 && name.rfind("weight") == name.size() - 6;
    at::Tensor(tensor).copy_((at::arange(tensor.numel(), at::kFloat) * 0.7).cos().mul(0.03).view(tensor.sizes()));
    if (norm) at::Tensor(tensor).add_(1);
  }
}

}  // namespace

config::Experiment TinyExperiment() { return Resolve(*ParseExperiment(kTiny, "tiny")); }
config::Experiment TinyAt64Experiment() { return Resolve(*ParseExperiment(kTinyAt64, "vit_ti8_64")); }
config::Experiment RowBExperiment() { return Resolve(*LoadExperiment("vit_b_mae_300ep")); }

PretrainingStep::PretrainingStep(const config::Experiment& experiment, int64_t batch, c10::Device device)
    : device_(device) {
  absl::StatusOr<std::shared_ptr<BaseModel>> base_model = MakeBaseModel(experiment);
  TEC_CHECK_OK(base_model);
  Fill(**base_model);
  absl::StatusOr<std::shared_ptr<TecModel>> model = MakeTecModel(experiment);
  TEC_CHECK_OK(model);
  objective_ = Objective::ForTec(experiment, device, {*std::move(base_model)}, {*std::move(model)});
  const config::Optimizer& optimizer = experiment.optimizer();
  optimizer_ = std::make_unique<AdamW>(PretrainingGroups(NamedTrainable(objective_->model()), optimizer.weight_decay()),
                                       AdamWOptions{optimizer.beta1(), optimizer.beta2(), optimizer.epsilon()});
  const int64_t side = experiment.model().encoder().image_size();
  pixels_ = (at::arange(batch * side * side * 3, at::kLong) * 37).remainder(251).to(at::kByte);
  pixels_ = pixels_.view({batch, side, side, 3});
  if (device.is_cuda()) pixels_ = pixels_.pin_memory();
  for (int64_t i = 0; i < batch; ++i) samples_.push_back(i);
}

PretrainingStep::Result PretrainingStep::Run(int64_t micro_steps, const Around& around) {
  Result result;
  for (int64_t i = 0; i < micro_steps; ++i) {
    const at::Tensor images = NormalizePixels(pixels_.to(device_, /*non_blocking=*/true), kImageNetMean, kImageNetStd);
    const at::Tensor noise = MaskingNoise(/*seed=*/1, epoch_++, samples_, objective_->patches()).to(device_);
    const Objective::Loss loss = objective_->Compute(images, noise);
    if (around.before && i + 1 == micro_steps) around.before();
    (loss.total() / static_cast<double>(micro_steps)).backward();
    if (around.after && i + 1 == micro_steps) around.after();
    result.loss = loss.total().detach();
  }
  result.gradient_norm = GradientNorm(optimizer_->parameters());
  optimizer_->Step(/*lr=*/1e-4, NotFinite(result.gradient_norm));
  optimizer_->ZeroGrad();
  return result;
}

}  // namespace tec
