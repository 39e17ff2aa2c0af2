// The other way: a plan's tensors under another project's names, so that its programs load them strictly.

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_EXPORT_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_EXPORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

enum class Naming {
  kTec,          // As weight_convert: no final norm.
  kTimm,         // timm's VisionTransformer; MAE's names are the same.
  kHuggingFace,  // transformers' ViTModel without pooler; HuggingFaceConfig() belongs to it.
  // transformers' BeitModel with the mean of the patches, which ends in a norm of that mean: no final norm, and no bias
  // of the keys, which adds the same to all logits of a query and so changes nothing.
  kHuggingFaceBeit,
};

// FailedPrecondition: the model has parts that the target has no place for (register tokens, a norm before the blocks,
// relative positions, another activation), or kTimm or kHuggingFace wants a final norm and the file has none.
absl::StatusOr<StateDict> ExportVit(const VitPlan& plan, Naming naming);

// config.json for transformers' ViTModel. The traits must say the number of heads (our own mistake otherwise).
std::string HuggingFaceConfig(const VitTraits& traits);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_EXPORT_H_
