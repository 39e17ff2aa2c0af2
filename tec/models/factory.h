// Models from a resolved experiment (tec/config): every size filled in. The only place where models and config meet.

#ifndef TEC_MODELS_FACTORY_H_
#define TEC_MODELS_FACTORY_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tec/config/experiment.pb.h"
#include "tec/models/base_model.h"
#include "tec/models/mae_model.h"
#include "tec/models/options.h"
#include "tec/models/tec_model.h"

namespace tec {

// `data`: that of the same run, for the channels.
VitOptions VitOptionsFrom(const config::Vit& vit, const config::Data& data);
// Of a new model's encoder, with MLPs of its ratio.
VitOptions VitOptionsFrom(const config::Model& model, const config::Data& data);
// `base`: one of BaseModelsOf(experiment); without it the first one. K is 0 unless the new model predicts relations.
BaseModelOptions BaseModelOptionsFrom(const config::Experiment& experiment, const config::BaseModel& base);
BaseModelOptions BaseModelOptionsFrom(const config::Experiment& experiment);
// target_width and target_heads are the base model's, further_targets those of the further ones.
TecOptions TecOptionsFrom(const config::Experiment& experiment);
MaeOptions MaeOptionsFrom(const config::Experiment& experiment);

// Unfilled; LoadBaseModel comes next. `variant`: how the file's ViT differs from MAE's (VariantOf). InvalidArgument
// lists all that is wrong with the sizes, also when the patch grid is not the new model's.
absl::StatusOr<std::shared_ptr<BaseModel>> MakeBaseModel(const config::Experiment& experiment,
                                                         const config::BaseModel& base, const VitVariant& variant = {});
absl::StatusOr<std::shared_ptr<BaseModel>> MakeBaseModel(const config::Experiment& experiment,
                                                         const VitVariant& variant = {});
// Initialised from experiment.seed().
absl::StatusOr<std::shared_ptr<TecModel>> MakeTecModel(const config::Experiment& experiment);
absl::StatusOr<std::shared_ptr<MaeModel>> MakeMaeModel(const config::Experiment& experiment);

}  // namespace tec

#endif  // TEC_MODELS_FACTORY_H_
