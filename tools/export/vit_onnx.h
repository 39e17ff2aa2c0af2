// An encoder as an ONNX model: opset 17, the number of images left open.
//
//   images      float [N, c, S, S], normalised     ->   cls         float [N, C]  the [CLS] token after the final norm,
//                                                                                 or what the attention pool gives;
//                                                                                 absent where there is neither
//                                                       patch_mean  float [N, C]  the mean of the patch tokens after it
//                                                       logits      float [N, k]  of a finetuned model
//
// In float16 the weights and what is computed with them are that; images and results stay float.
//
// A file without final norm (converted weights) gets the plain one, weight 1 and bias 0; a model without one (C-RADIO)
// gets none. How pictures become `images`
// stands in the model's metadata_props: image_size, resize_short_side, interpolation, mean, std (numbers separated by
// commas), and class_names, a JSON list.

#ifndef TEC_TOOLS_EXPORT_VIT_ONNX_H_
#define TEC_TOOLS_EXPORT_VIT_ONNX_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tools/convert/model_details.h"
#include "tools/export/onnx_model.h"

namespace tec {

// The model, for OnnxModel::Write. `heads`: attention heads; dtype: OnnxModel's. Any variant of the families.
// InvalidArgument: heads do not divide the width.
absl::StatusOr<std::unique_ptr<OnnxModel>> VitToOnnx(const VitPlan& plan, int64_t heads, const ModelDetails& details,
                                                     DType dtype = DType::kFloat32);

}  // namespace tec

#endif  // TEC_TOOLS_EXPORT_VIT_ONNX_H_
