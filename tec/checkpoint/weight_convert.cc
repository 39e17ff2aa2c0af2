#include "tec/checkpoint/weight_convert.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/vit_plan.h"

namespace tec {

absl::StatusOr<StateDict> WeightConvert(const StateDict& model) {
  TEC_ASSIGN_OR_RETURN(const VitPlan plan, PlanVit(TecFamily(), model));
  StateDict converted;
  for (const PlannedTensor& planned : plan.tensors) {
    if (absl::StartsWith(planned.name, "norm.")) continue;
    TEC_RETURN_IF_ERROR(converted.Add(planned.name, planned.read()));
  }
  return converted;
}

absl::StatusOr<StateDict> CastAll(const StateDict& tensors, DType dtype) {
  StateDict cast;
  for (const auto& [name, tensor] : tensors) {
    if (!IsFloatingPoint(tensor.dtype)) {
      TEC_CHECK_OK(cast.Add(name, tensor));
      continue;
    }
    const TensorView as = Cast(tensor, dtype);
    if (CheckFinite(name, tensor).ok()) {
      TEC_RETURN_IF_ERROR(Annotate(CheckFinite(name, as), absl::StrCat("as ", DTypeName(dtype))));
    }
    TEC_CHECK_OK(cast.Add(name, as));
  }
  return cast;
}

}  // namespace tec
