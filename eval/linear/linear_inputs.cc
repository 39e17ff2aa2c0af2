#include "eval/linear/linear_inputs.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/status.h"

namespace tec {

std::string LinearInputs::encoder_record() const {
  return absl::StrFormat("encoder: %016x", frozen.encoder_fingerprint);
}

absl::StatusOr<LinearInputs> OpenLinearInputs(const LinearRunOptions& options, RunContext& context) {
  LinearInputs inputs;
  inputs.settings = options.frozen;
  ShareOver(context, &inputs.settings);
  TEC_ASSIGN_OR_RETURN(inputs.frozen, OpenFrozenInputs(&inputs.settings, "linear probing"));
  TEC_ASSIGN_OR_RETURN(inputs.whole, UnionOf(options.features));
  for (const FeatureSpec& spec : options.features) {
    TEC_RETURN_IF_ERROR(CheckFeatureSpec(spec, inputs.frozen.encoder->options()));
  }
  inputs.settings.features.spec = inputs.whole;
  inputs.class_names = inputs.frozen.data.classes();
  const int64_t classes = static_cast<int64_t>(inputs.class_names.size());
  inputs.classes = options.nb_classes == 0 ? classes : options.nb_classes;
  if (inputs.classes < classes) {
    return absl::InvalidArgumentError(absl::StrCat("--nb_classes=", options.nb_classes, ", but ",
                                                   inputs.settings.data_path, " has ", classes,
                                                   " classes; it must be at least that"));
  }
  for (int64_t i = classes; i < inputs.classes; ++i) inputs.class_names.push_back(absl::StrCat("#", i));
  return inputs;
}

absl::Status LinearInputs::CompareRanks() const {
  return tec::CompareRanks(
      settings, frozen,
      {{"training images", frozen.data.train.get()}, {"held-out images", frozen.data.held_out.get()}});
}

absl::Status ReadHeldOut(LinearInputs* inputs) {
  TEC_ASSIGN_OR_RETURN(inputs->held_out, FrozenFeatures(inputs->frozen, inputs->settings, Split::kHeldOut));
  if (!inputs->held_out.values.defined()) return absl::OkStatus();
  inputs->held_out.values = inputs->held_out.values.to(inputs->frozen.device);
  return absl::OkStatus();
}

}  // namespace tec
