// An encoder as an ONNX model: opset 17, the number of images left open.
//
//   images      float [N, c, S, S], normalised     ->   cls         float [N, C]  the [CLS] token after the final norm
//                                                       patch_mean  float [N, C]  the mean of the patch tokens after it
//
// A file without final norm (converted weights) gives both before any norm.

#ifndef TEC_TOOLS_EXPORT_VIT_ONNX_H_
#define TEC_TOOLS_EXPORT_VIT_ONNX_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_plan.h"

namespace tec {

// The bytes of the model file. `heads`: attention heads. Any variant of the families. FailedPrecondition: the weights
// are more than the 2 GB that an ONNX file can hold; InvalidArgument: heads do not divide the width.
absl::StatusOr<std::string> VitToOnnx(const VitPlan& plan, int64_t heads);

}  // namespace tec

#endif  // TEC_TOOLS_EXPORT_VIT_ONNX_H_
