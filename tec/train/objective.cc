#include "tec/train/objective.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/config/base_model_flags.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/losses/losses.h"
#include "tec/models/begin_from_base.h"
#include "tec/models/factory.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tec/run/precision.h"
#include "tec/train/base_statistics.h"
#include "torch/cuda.h"

namespace tec {
namespace {

class MaeObjective : public Objective {
 public:
  MaeObjective(const config::Experiment& experiment, c10::Device device, std::shared_ptr<MaeModel> model)
      : experiment_(experiment), device_(device), model_(std::move(model)) {
    model_->to(device);
  }

  std::vector<torch::nn::Module*> models() override { return {model_.get()}; }
  int64_t patches() const override { return model_->options().encoder.patches(); }
  const std::vector<std::string>& loss_names() const override { return loss_names_; }
  uint32_t base_model_checksum() const override { return 0; }

  Loss Compute(const Images& images) override {
    AutocastGuard autocast(device_.type(), ComputeType(experiment_.runtime().precision()));
    const double mask_ratio = images.mask_ratio < 0 ? experiment_.masking().mask_ratio() : images.mask_ratio;
    const MaeOutput output = model_->forward(images.pixels, images.noise, mask_ratio);
    Loss loss;
    loss.totals.push_back(PixelLoss(output.prediction, images.pixels, output.mask, model_->options().encoder.patch_size,
                                    experiment_.losses().norm_pix_loss()));
    loss.parts = loss.totals[0].detach().reshape({1});
    return loss;
  }

 private:
  config::Experiment experiment_;
  c10::Device device_;
  std::shared_ptr<MaeModel> model_;
  std::vector<std::string> loss_names_ = {"loss"};
};

int64_t BytesOf(const torch::nn::Module& model) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : NamedState(model)) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

absl::Status CheckDevice(const config::BaseModel& base) {
  const std::string& name = base.device();
  if (name.empty() || name == "cpu") return absl::OkStatus();
  int64_t number = 0;
  const int64_t there = static_cast<int64_t>(torch::cuda::device_count());
  if (absl::SimpleAtoi(absl::string_view(name).substr(name.find(':') + 1), &number) && number >= 0 && number < there) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("device ", name, " of a base model is not there; this process sees ", there, " GPUs"));
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
absl::Status NamingRightSize(const absl::Status& status, const VitTraits& traits, const config::BaseModel& base) {
  const config::Vit& expected = base.encoder();
  if (status.ok() || (traits.width == expected.width() && traits.depth == expected.depth() &&
                      traits.patch_size == expected.patch_size())) {
    return status;
  }
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", RightBaseModel(traits)));
}

absl::StatusOr<std::shared_ptr<BaseModel>> OpenBaseModel(const config::Experiment& experiment,
                                                         const config::BaseModel& base) {
  const std::string what = absl::StrCat("base model ", base.path());
  TEC_RETURN_IF_ERROR(Annotate(CheckDevice(base), what));
  const absl::StatusOr<VitFile> file = ReadBaseModelFile(base);
  TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(file.status()), "base model"));
  TEC_LOG(INFO) << "base model " << file->description;
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<BaseModel> model, MakeBaseModel(experiment, base, VariantOf(file->plan.traits)));
  const absl::Status loaded = LoadBaseModel(*model, file->plan, base.interpolate_positions());
  TEC_RETURN_IF_ERROR(Annotate(NamingRightSize(loaded, file->plan.traits, base), what));
  TEC_RETURN_IF_ERROR(UseOwnStatistics(*file, experiment.data(), model.get()));
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Objective>> Objective::Create(const config::Experiment& experiment, c10::Device device) {
  if (experiment.method() == config::MAE) {
    TEC_ASSIGN_OR_RETURN(std::shared_ptr<MaeModel> model, MakeMaeModel(experiment));
    return std::unique_ptr<Objective>(new MaeObjective(experiment, device, std::move(model)));
  }
  std::vector<std::shared_ptr<BaseModel>> base_models;
  const std::vector<double> shares = BaseModelShares(experiment);
  for (const config::BaseModel* base : BaseModelsOf(experiment)) {
    TEC_ASSIGN_OR_RETURN(base_models.emplace_back(), OpenBaseModel(experiment, *base));
    if (shares.size() == 1) continue;
    TEC_LOG(INFO) << absl::StrFormat(
        "its share of the loss %.3g, K %d, tau %.3g; %.2f GFLOP an image, %.1f MB of weights",
        shares[base_models.size() - 1], base->topkatt(), RelationTemperature(experiment, *base),
        EncoderFlopsPerImage(base->encoder(), experiment.data()) * 1e-9,
        static_cast<double>(BytesOf(*base_models.back())) * 1e-6);
  }
  std::vector<std::shared_ptr<TecModel>> models;
  for (int64_t i = 0; i < NewModels(experiment); ++i) {
    // As it would be made alone.
    const config::Experiment alone = AloneWithModel(experiment, i);
    TEC_ASSIGN_OR_RETURN(models.emplace_back(), MakeTecModel(alone));
    if (alone.model().init_from_base()) TEC_RETURN_IF_ERROR(BeginFromBase(*base_models[0], *models.back()));
  }
  return ForTec(experiment, device, std::move(base_models), std::move(models));
}

}  // namespace tec
