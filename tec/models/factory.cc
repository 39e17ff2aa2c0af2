#include "tec/models/factory.h"

#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/nn/initialise.h"

namespace tec {
namespace {

// 0 where it is four times the width, as VitVariant and DecoderOptions have it.
int64_t HiddenOf(const config::Model& model, int64_t width) {
  const int64_t hidden = HiddenWidth(model, width);
  return hidden == 4 * width ? 0 : hidden;
}

DecoderOptions DecoderOptionsFrom(const config::Model& model) {
  const config::Decoder& decoder = model.decoder();
  return {decoder.width(), decoder.depth(), decoder.heads(), HiddenOf(model, decoder.width())};
}

}  // namespace

VitOptions VitOptionsFrom(const config::Vit& vit, const config::Data& data) {
  return {vit.image_size(), vit.patch_size(), vit.width(), vit.depth(), vit.heads(), VitVariant(), data.channels()};
}

VitOptions VitOptionsFrom(const config::Model& model, const config::Data& data) {
  VitOptions options = VitOptionsFrom(model.encoder(), data);
  options.variant.hidden = HiddenOf(model, options.width);
  return options;
}

BaseModelOptions BaseModelOptionsFrom(const config::Experiment& experiment) {
  return BaseModelOptionsFrom(experiment, experiment.base_model());
}

BaseModelOptions BaseModelOptionsFrom(const config::Experiment& experiment, const config::BaseModel& base) {
  return {VitOptionsFrom(base.encoder(), experiment.data()), base.last_layers(),
          experiment.model().pred_att() ? base.topkatt() : 0};
}

TecOptions TecOptionsFrom(const config::Experiment& experiment) {
  const config::Model& model = experiment.model();
  TecOptions options;
  options.encoder = VitOptionsFrom(model, experiment.data());
  options.decoder = DecoderOptionsFrom(model);
  options.mlp_token = model.mlp_token();
  options.pred_att = model.pred_att();
  options.adaptor_groups = model.adaptor_groups();
  options.target_width = experiment.base_model().encoder().width();
  options.target_heads = experiment.base_model().encoder().heads();
  for (const config::BaseModel& base : experiment.further_base_models()) {
    options.further_targets.push_back({base.encoder().width(), base.encoder().heads()});
  }
  return options;
}

MaeOptions MaeOptionsFrom(const config::Experiment& experiment) {
  return {VitOptionsFrom(experiment.model(), experiment.data()), DecoderOptionsFrom(experiment.model())};
}

absl::StatusOr<std::shared_ptr<BaseModel>> MakeBaseModel(const config::Experiment& experiment,
                                                         const VitVariant& variant) {
  return MakeBaseModel(experiment, experiment.base_model(), variant);
}

absl::StatusOr<std::shared_ptr<BaseModel>> MakeBaseModel(const config::Experiment& experiment,
                                                         const config::BaseModel& base, const VitVariant& variant) {
  BaseModelOptions options = BaseModelOptionsFrom(experiment, base);
  options.encoder.variant = variant;
  TEC_RETURN_IF_ERROR(Validate(options));
  TEC_RETURN_IF_ERROR(ValidatePair(options, TecOptionsFrom(experiment)));
  return std::make_shared<BaseModel>(options);
}

absl::StatusOr<std::shared_ptr<TecModel>> MakeTecModel(const config::Experiment& experiment) {
  const TecOptions options = TecOptionsFrom(experiment);
  TEC_RETURN_IF_ERROR(Validate(options));
  auto model = std::make_shared<TecModel>(options);
  InitialisePretraining(*model, static_cast<uint64_t>(experiment.seed()));
  return model;
}

absl::StatusOr<std::shared_ptr<MaeModel>> MakeMaeModel(const config::Experiment& experiment) {
  const MaeOptions options = MaeOptionsFrom(experiment);
  TEC_RETURN_IF_ERROR(Validate(options));
  auto model = std::make_shared<MaeModel>(options);
  InitialisePretraining(*model, static_cast<uint64_t>(experiment.seed()));
  return model;
}

}  // namespace tec
