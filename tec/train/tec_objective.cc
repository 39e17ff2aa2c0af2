#include "tec/train/tec_objective.h"

#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/base_model_settings.h"
#include "tec/losses/losses.h"
#include "tec/models/fitted_images.h"
#include "tec/nn/autocast.h"
#include "tec/nn/frozen_layout.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/run/event_file.h"
#include "tec/run/precision.h"
#include "tec/train/base_model_drop.h"

namespace tec {
namespace {

constexpr char kAttentionMask[] = "attention";

uint32_t Checksum(const torch::nn::Module& model) {
  uint32_t sum = 0;
  for (const auto& [name, tensor] : NamedState(model)) {
    sum = sum * 31 + Crc32c(ViewOf(tensor).bytes);
  }
  return sum;
}

// The rows `rows` (I64) of what is defined; all of it if `rows` is not.
at::Tensor Rows(const at::Tensor& x, const at::Tensor& rows) {
  return rows.defined() && x.defined() ? x.index_select(0, rows.to(x.device())) : x;
}

Targets Rows(const Targets& targets, const at::Tensor& rows) {
  return {Rows(targets.features, rows), Rows(targets.relations, rows), Rows(targets.idx, rows)};
}

}  // namespace

TecObjective::TecObjective(const config::Experiment& experiment, c10::Device device,
                           std::vector<std::shared_ptr<BaseModel>> base_models,
                           std::vector<std::shared_ptr<TecModel>> models)
    : experiment_(experiment), device_(device), models_(std::move(models)) {
  const std::vector<const config::BaseModel*> settings = BaseModelsOf(experiment_);
  const std::vector<double> shares = BaseModelShares(experiment_);
  TEC_CHECK(base_models.size() == settings.size() && static_cast<int64_t>(models_.size()) == NewModels(experiment_));
  for (size_t i = 0; i < base_models.size(); ++i) {
    checksum_ = checksum_ * 31 + Checksum(*base_models[i]);
    const c10::Device own = settings[i]->device().empty() ? device : c10::Device(settings[i]->device());
    base_models[i]->to(own);
    LayOutForward(*base_models[i]);
    bases_.push_back({base_models[i], own, shares[i], RelationTemperature(experiment_, *settings[i])});
  }
  const std::vector<std::string> labels = BaseModelLabels(experiment_);
  for (size_t m = 0; m < models_.size(); ++m) {
    TEC_CHECK(models_[m]->options().base_models() == bases_.size());
    models_[m]->to(device);
    const std::string model =
        m == 0 ? "" : absl::StrCat("_", experiment_.further_models(static_cast<int>(m - 1)).label());
    loss_names_.push_back(absl::StrCat("loss", model));
    for (const std::string& label : labels) {
      const std::string base = labels.size() == 1 ? "" : absl::StrCat("_", label);
      loss_names_.push_back(absl::StrCat("loss_fea", base, model));
      if (relations()) loss_names_.push_back(absl::StrCat("loss_att", base, model));
    }
  }
}

std::vector<torch::nn::Module*> TecObjective::models() {
  std::vector<torch::nn::Module*> all;
  for (const auto& model : models_) all.push_back(model.get());
  return all;
}

Objective::Loss TecObjective::Compute(const Images& images) {
  AutocastGuard autocast(device_.type(), ComputeType(experiment_.runtime().precision()));
  const double mask_ratio = images.mask_ratio < 0 ? experiment_.masking().mask_ratio() : images.mask_ratio;
  const bool guided = experiment_.masking().kind() == kAttentionMask;
  std::vector<TecModel::Encoded> encoded;
  Loss loss;
  loss.totals.resize(models_.size());
  // Of each new model: its total first, which is known last.
  std::vector<std::vector<at::Tensor>> parts(models_.size(), std::vector<at::Tensor>(1));
  at::Tensor floor;
  for (size_t i = 0; i < bases_.size(); ++i) {
    const Kept kept = KeptOf(images, i);
    // The mask may need all images' targets of the first one.
    const bool all = guided && i == 0;
    Targets targets = TargetsOf(bases_[i], all ? images.pixels : Rows(images.pixels, kept.rows));
    if (i == 0) {
      const at::Tensor noise =
          guided ? GuidedNoise(images.noise, targets.relations.select(2, 0).mean({1, 2})) : images.noise;
      for (const auto& model : models_) {
        encoded.push_back(
            model->Encode(FittedImages(images.pixels, model->options().encoder.image_size), noise, mask_ratio));
      }
    }
    if (all) targets = Rows(targets, kept.rows);
    for (size_t m = 0; m < models_.size(); ++m) {
      std::vector<at::Tensor> latents;
      for (const at::Tensor& latent : encoded[m].latents) latents.push_back(Rows(latent, kept.rows));
      const TecOutput output =
          models_[m]->Decode(models_[m]->Adapt(latents, i), Rows(encoded[m].ids_restore, kept.rows), targets.idx, i);
      at::Tensor entropy;
      const at::Tensor own =
          OwnLoss(output, targets, Rows(encoded[m].mask, kept.rows), bases_[i].tau, &parts[m], &entropy);
      if (m == 0 && entropy.defined()) {
        const at::Tensor weighted = bases_.size() == 1 ? entropy : entropy * bases_[i].share;
        floor = floor.defined() ? floor + weighted : weighted;
      }
      const double factor = bases_.size() == 1 ? 1 : bases_[i].share * kept.factor;
      const at::Tensor weighted = factor == 1 ? own : own * factor;
      loss.totals[m] = loss.totals[m].defined() ? loss.totals[m] + weighted : weighted;
    }
  }
  if (floor.defined()) {
    // On the device: nothing waits for it here.
    floor_sum_ = floor_sum_.defined() ? floor_sum_ + floor : floor;
    ++floor_count_;
  }
  std::vector<at::Tensor> flat;
  for (size_t m = 0; m < models_.size(); ++m) {
    parts[m][0] = loss.totals[m];
    for (const at::Tensor& part : parts[m]) flat.push_back(part.detach());
  }
  loss.parts = at::stack(flat);
  return loss;
}

std::optional<double> TecObjective::TakeRelationFloor() {
  if (floor_count_ == 0) return std::nullopt;
  const double mean = floor_sum_.item<double>() / static_cast<double>(floor_count_);
  floor_sum_ = at::Tensor();
  floor_count_ = 0;
  return mean;
}

TecObjective::Kept TecObjective::KeptOf(const Images& images, size_t base) const {
  Kept kept;
  if (!images.kept.defined()) return kept;
  kept.rows = images.kept.select(1, static_cast<int64_t>(base)).nonzero().flatten();
  const double probability = KeptProbability(static_cast<int64_t>(bases_.size()), experiment_.drop_base_models());
  kept.factor = static_cast<double>(kept.rows.size(0)) / (static_cast<double>(images.pixels.size(0)) * probability);
  if (kept.rows.size(0) == 0) kept.rows = at::zeros({1}, at::kLong);
  return kept;
}

Targets TecObjective::TargetsOf(const Base& base, const at::Tensor& pixels) const {
  if (base.device == device_) return base.model->forward(pixels);
  AutocastGuard autocast(base.device.type(), ComputeType(experiment_.runtime().precision()));
  Targets targets = base.model->forward(pixels.to(base.device));
  for (at::Tensor* tensor : {&targets.features, &targets.relations, &targets.idx}) {
    if (tensor->defined()) *tensor = tensor->to(device_);
  }
  return targets;
}

at::Tensor TecObjective::OwnLoss(const TecOutput& output, const Targets& targets, const at::Tensor& mask, double tau,
                                 std::vector<at::Tensor>* parts, at::Tensor* entropy) const {
  const config::Losses& losses = experiment_.losses();
  const at::Tensor feature = FeatureLoss(output.feature_tokens, targets.features, mask);
  parts->push_back(feature);
  at::Tensor total = feature * losses.feature_weight();
  if (relations()) {
    const auto [relation, floor] = RelationLossOf(output.relation_logits, targets.relations, tau);
    *entropy = floor;
    total = total + relation * losses.relation_weight();
    parts->push_back(relation);
  }
  return total;
}

std::unique_ptr<Objective> Objective::ForTec(const config::Experiment& experiment, c10::Device device,
                                             std::vector<std::shared_ptr<BaseModel>> base_models,
                                             std::vector<std::shared_ptr<TecModel>> models) {
  return std::make_unique<TecObjective>(experiment, device, std::move(base_models), std::move(models));
}

}  // namespace tec
