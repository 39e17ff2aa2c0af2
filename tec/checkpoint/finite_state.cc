#include "tec/checkpoint/finite_state.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"

namespace tec {
namespace {

absl::Status Check(const StateDict& tensors, const std::string& entry) {
  for (const auto& [name, tensor] : tensors) TEC_RETURN_IF_ERROR(CheckFinite(absl::StrCat(entry, name), tensor));
  return absl::OkStatus();
}

absl::Status Check(const TrainingState& state) {
  TEC_RETURN_IF_ERROR(Check(state.model, ""));
  TEC_RETURN_IF_ERROR(Check(state.model_ema, "model_ema: "));
  for (const auto& [number, moments] : state.optimizer.moments) {
    const std::string of = absl::StrCat(" of the optimizer's parameter ", number);
    TEC_RETURN_IF_ERROR(CheckFinite("exp_avg" + of, moments.exp_avg));
    TEC_RETURN_IF_ERROR(CheckFinite("exp_avg_sq" + of, moments.exp_avg_sq));
  }
  if (state.scaler && !(std::isfinite(state.scaler->scale) && state.scaler->scale > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("the loss scale is ", state.scaler->scale));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFinite(const LoadedState& loaded) {
  if (loaded.state.method == "linear") return absl::OkStatus();
  const absl::Status status = Check(loaded.state);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(loaded.path, ": ", status.message(),
                                                 ". No run goes on from it: give an earlier one as --resume "
                                                 "(checkpoint-N.pth), or begin anew in another --output_dir"));
}

}  // namespace tec
