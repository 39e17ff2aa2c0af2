#include "eval/report/predictions.h"

#include <memory>
#include <string>
#include <utility>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/training_state.h"
#include "tec/losses/losses.h"
#include "tec/models/factory.h"
#include "tec/nn/masking.h"

namespace tec {
namespace {

// A checkpoint's whole model: its encoder and what is around it in training.
absl::Status LoadCheckpoint(const std::string& path, torch::nn::Module* model) {
  TEC_ASSIGN_OR_RETURN(const TrainingState state, LoadTrainingState(path));
  return Annotate(LoadState(*model, state.model), path);
}

at::Tensor Noise(const SeenRun& run, int64_t patches) {
  return MaskingNoise(static_cast<uint64_t>(run.subject().pretraining->seed()), 0, run.indices(), patches)
      .to(run.device());
}

// The run's own encoders.
std::vector<const LookedAt*> OwnOf(const SeenRun& run) {
  std::vector<const LookedAt*> own;
  for (const LookedAt& looked : run.encoders()) own.push_back(&looked);
  if (run.has_base()) own.erase(own.begin());
  return own;
}

// logits [N, 1, 1+K, H, L] -> [N, L]: of the first selected patch, after the softmax, the mean over heads.
at::Tensor RowOf(const at::Tensor& logits, double tau) {
  return at::softmax(logits.to(at::kFloat).squeeze(1) / tau, -1).mean(2).select(1, 1).cpu();
}

}  // namespace

absl::StatusOr<std::vector<RelationPrediction>> PredictRelations(const SeenRun& run) {
  at::NoGradGuard no_gradient;
  const config::Experiment& experiment = *run.subject().pretraining;
  const double tau = experiment.losses().att_tau();
  const Targets targets = run.encoders().front().targets->forward(run.images());
  const at::Tensor log_p = at::log_softmax(targets.relations.to(at::kFloat) / tau, -1);
  RelationPrediction common;
  common.patch = targets.idx.flatten().cpu();
  common.target = RowOf(targets.relations, tau);
  common.floor = -(log_p.exp() * log_p).sum(-1).mean().item<double>();
  std::vector<RelationPrediction> predictions;
  for (const LookedAt* looked : OwnOf(run)) {
    TEC_ASSIGN_OR_RETURN(const std::shared_ptr<TecModel> model, MakeTecModel(experiment));
    TEC_RETURN_IF_ERROR(LoadCheckpoint(looked->path, model.get()));
    model->to(run.device());
    const TecOutput output = model->forward(run.images(), Noise(run, model->options().encoder.patches()),
                                            experiment.masking().mask_ratio(), targets.idx);
    predictions.push_back(common);
    predictions.back().mask = output.mask.cpu();
    if (output.relation_logits.defined()) predictions.back().predicted = RowOf(output.relation_logits, 1);
  }
  return predictions;
}

absl::StatusOr<std::vector<Reconstruction>> Reconstruct(const SeenRun& run) {
  at::NoGradGuard no_gradient;
  const config::Experiment& experiment = *run.subject().pretraining;
  const config::Data& data = run.subject().data;
  const at::Tensor mean = at::tensor(std::vector<float>(data.mean().begin(), data.mean().end())),
                   deviation = at::tensor(std::vector<float>(data.std().begin(), data.std().end()));
  std::vector<Reconstruction> reconstructions;
  for (const LookedAt* looked : OwnOf(run)) {
    TEC_ASSIGN_OR_RETURN(const std::shared_ptr<MaeModel> model, MakeMaeModel(experiment));
    TEC_RETURN_IF_ERROR(LoadCheckpoint(looked->path, model.get()));
    model->to(run.device());
    const VitOptions& vit = model->options().encoder;
    const MaeOutput output = model->forward(run.images(), Noise(run, vit.patches()), experiment.masking().mask_ratio());
    at::Tensor patches = Patchify(run.images(), vit.patch_size);
    at::Tensor predicted = output.prediction.to(at::kFloat);
    if (experiment.losses().norm_pix_loss()) {
      // The loss compares with standardised patches (PixelLoss): back to each patch's own mean and deviation.
      predicted = predicted * (patches.var(-1, /*unbiased=*/true, /*keepdim=*/true) + 1e-6).sqrt() +
                  patches.mean(-1, /*keepdim=*/true);
    }
    patches = at::where(output.mask.unsqueeze(-1) > 0, predicted, patches);
    const int64_t grid = vit.grid(), side = vit.patch_size, images = patches.size(0);
    const at::Tensor pixels = patches.view({images, grid, grid, side, side, 3})
                                  .permute({0, 1, 3, 2, 4, 5})
                                  .reshape({images, grid * side, grid * side, 3})
                                  .cpu();
    reconstructions.push_back(
        {output.mask.cpu(), ((pixels * deviation + mean) * 255).round().clamp(0, 255).to(at::kByte)});
  }
  return reconstructions;
}

}  // namespace tec
