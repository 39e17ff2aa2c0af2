// Which numbers of an encoder describe an image: [CLS] tokens, a mean of patch tokens, or both side by side.
// (recipe.md section 16)

#ifndef TEC_EVAL_FEATURES_FEATURE_SPEC_H_
#define TEC_EVAL_FEATURES_FEATURE_SPEC_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/models/encoder.h"

namespace tec {

struct FeatureSpec {
  enum class PatchMean {
    kNone,
    kAfterNorm,   // Mean of the last block's patch tokens after the final norm.
    kBeforeNorm,  // Mean of them before it, then a norm of its own without weights: MAE's --global_pool.
  };

  // The [CLS] tokens of this many last blocks, each after the final norm, shallowest first: 0..D. Then the mean.
  int64_t cls_blocks = 1;
  PatchMean patch_mean = PatchMean::kNone;

  int64_t Width(int64_t encoder_width) const {
    return encoder_width * (cls_blocks + (patch_mean == PatchMean::kNone ? 0 : 1));
  }
  bool operator==(const FeatureSpec& other) const {
    return cls_blocks == other.cls_blocks && patch_mean == other.patch_mean;
  }
};

inline constexpr FeatureSpec kClsFeatures = {1, FeatureSpec::PatchMean::kNone};
inline constexpr FeatureSpec kPoolFeatures = {0, FeatureSpec::PatchMean::kAfterNorm};
inline constexpr FeatureSpec kGlobalPoolFeatures = {0, FeatureSpec::PatchMean::kBeforeNorm};

// "cls" (of the last block), "cls4" (of the last four), "pool", "cls+pool", "cls4+pool", "global_pool". InvalidArgument
// for anything else.
absl::StatusOr<FeatureSpec> ParseFeatureSpec(absl::string_view name);
std::string NameOf(const FeatureSpec& spec);

// InvalidArgument where `spec` asks for more last blocks than the encoder has, or for a [CLS] token where it has
// neither that nor an attention pool, whose output then stands for it.
absl::Status CheckFeatureSpec(const FeatureSpec& spec, const VitOptions& encoder);

// The smallest spec that has the numbers of all `specs`. InvalidArgument where they use different patch means.
absl::StatusOr<FeatureSpec> UnionOf(const std::vector<FeatureSpec>& specs);

// First column, and number of columns, of `part`'s numbers among those of `whole`, a union of it and others.
std::pair<int64_t, int64_t> ColumnsOf(const FeatureSpec& part, const FeatureSpec& whole, int64_t encoder_width);

// images [N, c, S, S], normalised -> [N, spec.Width(C)], in the type that the ops give.
at::Tensor ComputeFeatures(Encoder& encoder, const at::Tensor& images, const FeatureSpec& spec);

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_FEATURE_SPEC_H_
