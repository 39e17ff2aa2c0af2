// The number of attention heads of a file's encoder, which its tensors do not tell.

#ifndef TEC_TOOLS_CONVERT_ENCODER_HEADS_H_
#define TEC_TOOLS_CONVERT_ENCODER_HEADS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_plan.h"

namespace tec {

// `given` (--heads) if it is not 0; else what the file's plan, the run recorded in it, or its width says.
// InvalidArgument if nothing does, or if the width is no multiple of it.
absl::StatusOr<int64_t> EncoderHeads(const std::string& path, const VitTraits& traits, int64_t given);

}  // namespace tec

#endif  // TEC_TOOLS_CONVERT_ENCODER_HEADS_H_
