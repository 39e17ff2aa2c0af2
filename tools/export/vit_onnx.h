// An encoder as an ONNX model: opset 17, the number of images left open.
//
//   images      float [N, c, S, S], normalised     ->   cls         float [N, C]  the [CLS] token after the final norm,
//                                                                                 or what the attention pool gives;
//                                                                                 absent where there is neither
//                                                       patch_mean  float [N, C]  the mean of the patch tokens after it
//                                                       logits      float [N, k]  of a finetuned model
//
// A file without final norm (converted weights) gets the plain one, weight 1 and bias 0. How pictures become `images`
// stands in the model's metadata_props: image_size, resize_short_side, interpolation, mean, std (numbers separated by
// commas), and class_names, a JSON list.

#ifndef TEC_TOOLS_EXPORT_VIT_ONNX_H_
#define TEC_TOOLS_EXPORT_VIT_ONNX_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tools/convert/model_details.h"

namespace tec {

// The bytes of the model file. `heads`: attention heads. Any variant of the families. FailedPrecondition: the weights
// are more than the 2 GB that an ONNX file can hold; InvalidArgument: heads do not divide the width.
absl::StatusOr<std::string> VitToOnnx(const VitPlan& plan, int64_t heads, const ModelDetails& details);

}  // namespace tec

#endif  // TEC_TOOLS_EXPORT_VIT_ONNX_H_
