#include "tec/train/objective.h"

#include <utility>

#include "ATen/ops/stack.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/base_model_flags.h"
#include "tec/config/config.h"
#include "tec/losses/losses.h"
#include "tec/models/factory.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tec/run/event_writer.h"
#include "tec/run/precision.h"
#include "tec/train/base_statistics.h"

namespace tec {
namespace {

uint32_t Checksum(const torch::nn::Module& model) {
  uint32_t sum = 0;
  for (const auto& [name, tensor] : NamedState(model)) {
    sum = sum * 31 + Crc32c(ViewOf(tensor).bytes);
  }
  return sum;
}

// With the experiment's heads, which most files do not tell; of a file of another width, with its own, so that what is
// wrong is its size.
absl::StatusOr<VitFile> ReadBaseModelFile(const config::BaseModel& base) {
  VitRequest request;
  request.family = base.family();
  request.entry = base.entry();
  request.heads = base.encoder().heads();
  TEC_RETURN_IF_ERROR(ParseGrid(base.grid(), &request));
  absl::StatusOr<VitFile> file = ReadVitFile(base.path(), request);
  if (file.ok() && file->plan.traits.width == base.encoder().width()) return file;
  request.heads = 0;
  absl::StatusOr<VitFile> other = ReadVitFile(base.path(), request);
  return other.ok() && other->plan.traits.width != base.encoder().width() ? other : file;
}

// What --basemodel should be for a file of the family's sizes.
std::string RightBaseModel(const VitTraits& file) {
  for (const char* name : {"mae1kbase", "mae1klarge"}) {  // One of each size.
    config::Experiment named = ReferenceExperiment();
    named.mutable_base_model()->set_name(name);
    const config::Vit encoder = Resolve(named).base_model().encoder();
    if (file.width == encoder.width() && file.depth == encoder.depth() && file.patch_size == encoder.patch_size() &&
        file.heads == encoder.heads()) {
      return absl::StrCat("--basemodel=", name, " is of the file's size");
    }
  }
  return "no --basemodel is of the file's size: leave --basemodel, --model and --config out, and the sizes of both "
         "models are the file's (--config=own_images)";
}

// A status of LoadBaseModel, with what the base model's size should be where it is another than the file's.
absl::Status NamingRightSize(const absl::Status& status, const VitTraits& traits,
                             const config::Experiment& experiment) {
  const config::Vit& expected = experiment.base_model().encoder();
  if (status.ok() || (traits.width == expected.width() && traits.depth == expected.depth() &&
                      traits.patch_size == expected.patch_size())) {
    return status;
  }
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", RightBaseModel(traits)));
}

class TecObjective : public Objective {
 public:
  TecObjective(const config::Experiment& experiment, c10::Device device, std::shared_ptr<BaseModel> base_model,
               std::shared_ptr<TecModel> model)
      : experiment_(experiment),
        device_(device),
        base_model_(std::move(base_model)),
        model_(std::move(model)),
        checksum_(Checksum(*base_model_)) {
    loss_names_ = {"loss", "loss_fea"};
    if (model_->options().pred_att) loss_names_.push_back("loss_att");
    base_model_->to(device);
    model_->to(device);
  }

  torch::nn::Module& model() override { return *model_; }
  int64_t patches() const override { return model_->options().encoder.patches(); }
  const std::vector<std::string>& loss_names() const override { return loss_names_; }
  uint32_t base_model_checksum() const override { return checksum_; }

  Loss Compute(const at::Tensor& images, const at::Tensor& noise) override {
    AutocastGuard autocast(device_.type(), ComputeType(experiment_.runtime().precision()));
    const Targets targets = base_model_->forward(images);
    const TecOutput output = model_->forward(images, noise, experiment_.masking().mask_ratio(), targets.idx);
    const config::Losses& losses = experiment_.losses();
    const at::Tensor feature = FeatureLoss(output.feature_prediction, targets.features, output.mask);
    Loss loss;
    loss.total = feature * losses.feature_weight();
    std::vector<at::Tensor> parts = {loss.total, feature};
    if (model_->options().pred_att) {
      const at::Tensor relation = RelationLoss(output.relation_logits, targets.relations, losses.att_tau());
      loss.total = loss.total + relation * losses.relation_weight();
      parts = {loss.total, feature, relation};
      const at::Tensor floor = RelationTargetEntropy(targets.relations, losses.att_tau());
      // On the device: nothing waits for it here.
      floor_sum_ = floor_sum_.defined() ? floor_sum_ + floor : floor;
      ++floor_count_;
    }
    for (at::Tensor& part : parts) part = part.detach();
    loss.parts = at::stack(parts);
    return loss;
  }

  std::optional<double> TakeRelationFloor() override {
    if (floor_count_ == 0) return std::nullopt;
    const double mean = floor_sum_.item<double>() / static_cast<double>(floor_count_);
    floor_sum_ = at::Tensor();
    floor_count_ = 0;
    return mean;
  }

 private:
  config::Experiment experiment_;
  c10::Device device_;
  std::shared_ptr<BaseModel> base_model_;
  std::shared_ptr<TecModel> model_;
  uint32_t checksum_;
  std::vector<std::string> loss_names_;
  at::Tensor floor_sum_;
  int64_t floor_count_ = 0;
};

class MaeObjective : public Objective {
 public:
  MaeObjective(const config::Experiment& experiment, c10::Device device, std::shared_ptr<MaeModel> model)
      : experiment_(experiment), device_(device), model_(std::move(model)) {
    model_->to(device);
  }

  torch::nn::Module& model() override { return *model_; }
  int64_t patches() const override { return model_->options().encoder.patches(); }
  const std::vector<std::string>& loss_names() const override { return loss_names_; }
  uint32_t base_model_checksum() const override { return 0; }

  Loss Compute(const at::Tensor& images, const at::Tensor& noise) override {
    AutocastGuard autocast(device_.type(), ComputeType(experiment_.runtime().precision()));
    const MaeOutput output = model_->forward(images, noise, experiment_.masking().mask_ratio());
    Loss loss;
    loss.total = PixelLoss(output.prediction, images, output.mask, model_->options().encoder.patch_size,
                           experiment_.losses().norm_pix_loss());
    loss.parts = loss.total.detach().reshape({1});
    return loss;
  }

 private:
  config::Experiment experiment_;
  c10::Device device_;
  std::shared_ptr<MaeModel> model_;
  std::vector<std::string> loss_names_ = {"loss"};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Objective>> Objective::Create(const config::Experiment& experiment, c10::Device device) {
  if (experiment.method() == config::MAE) {
    TEC_ASSIGN_OR_RETURN(std::shared_ptr<MaeModel> model, MakeMaeModel(experiment));
    return std::unique_ptr<Objective>(new MaeObjective(experiment, device, std::move(model)));
  }
  const config::BaseModel& base = experiment.base_model();
  const absl::StatusOr<VitFile> file = ReadBaseModelFile(base);
  TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(file.status()), "base model"));
  TEC_LOG(INFO) << "base model " << file->description;
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<BaseModel> base_model, MakeBaseModel(experiment, VariantOf(file->plan.traits)));
  const absl::Status loaded = LoadBaseModel(*base_model, file->plan, base.interpolate_positions());
  TEC_RETURN_IF_ERROR(
      Annotate(NamingRightSize(loaded, file->plan.traits, experiment), absl::StrCat("base model ", base.path())));
  TEC_RETURN_IF_ERROR(UseOwnStatistics(*file, experiment.data(), base_model.get()));
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<TecModel> model, MakeTecModel(experiment));
  return ForTec(experiment, device, std::move(base_model), std::move(model));
}

std::unique_ptr<Objective> Objective::ForTec(const config::Experiment& experiment, c10::Device device,
                                             std::shared_ptr<BaseModel> base_model, std::shared_ptr<TecModel> model) {
  return std::make_unique<TecObjective>(experiment, device, std::move(base_model), std::move(model));
}

}  // namespace tec
