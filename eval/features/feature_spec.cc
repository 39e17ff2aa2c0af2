#include "eval/features/feature_spec.h"

#include <algorithm>

#include "ATen/ops/cat.h"
#include "ATen/ops/layer_norm.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"

namespace tec {

absl::StatusOr<FeatureSpec> ParseFeatureSpec(absl::string_view name) {
  if (name == "pool") return kPoolFeatures;
  if (name == "global_pool") return kGlobalPoolFeatures;
  FeatureSpec spec;
  absl::string_view rest = name;
  if (absl::ConsumeSuffix(&rest, "+pool")) spec.patch_mean = FeatureSpec::PatchMean::kAfterNorm;
  const bool cls = absl::ConsumePrefix(&rest, "cls");
  if (!cls || (!rest.empty() && (!absl::SimpleAtoi(rest, &spec.cls_blocks) || spec.cls_blocks < 1))) {
    return absl::InvalidArgumentError(absl::StrCat("unknown features \"", name,
                                                   "\" (known: cls, cls4, pool, cls+pool, cls4+pool, global_pool, and "
                                                   "other numbers of last blocks)"));
  }
  return spec;
}

std::string NameOf(const FeatureSpec& spec) {
  std::string name;
  if (spec.cls_blocks == 1) name = "cls";
  if (spec.cls_blocks > 1) name = absl::StrCat("cls", spec.cls_blocks);
  if (spec.patch_mean == FeatureSpec::PatchMean::kNone) return name;
  return absl::StrCat(name, name.empty() ? "" : "+",
                      spec.patch_mean == FeatureSpec::PatchMean::kAfterNorm ? "pool" : "global_pool");
}

absl::Status CheckFeatureSpec(const FeatureSpec& spec, const VitOptions& encoder) {
  if (spec.cls_blocks > 0 && !Encoder::HasClass(encoder)) {
    return absl::InvalidArgumentError(absl::StrCat("features ", NameOf(spec),
                                                   " of an encoder that has neither a [CLS] token nor an attention "
                                                   "pool: take pool, the mean of its patches"));
  }
  if (spec.cls_blocks <= encoder.depth) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("features ", NameOf(spec), " of an encoder that has only ", encoder.depth, " blocks"));
}

absl::StatusOr<FeatureSpec> UnionOf(const std::vector<FeatureSpec>& specs) {
  FeatureSpec whole{0, FeatureSpec::PatchMean::kNone};
  for (const FeatureSpec& spec : specs) {
    whole.cls_blocks = std::max(whole.cls_blocks, spec.cls_blocks);
    if (spec.patch_mean == FeatureSpec::PatchMean::kNone) continue;
    if (whole.patch_mean != FeatureSpec::PatchMean::kNone && whole.patch_mean != spec.patch_mean) {
      return absl::InvalidArgumentError("pool and global_pool are different means; probe them in runs of their own");
    }
    whole.patch_mean = spec.patch_mean;
  }
  return whole;
}

std::pair<int64_t, int64_t> ColumnsOf(const FeatureSpec& part, const FeatureSpec& whole, int64_t encoder_width) {
  TEC_CHECK(part.cls_blocks <= whole.cls_blocks &&
            (part.patch_mean == FeatureSpec::PatchMean::kNone || part.patch_mean == whole.patch_mean))
      << NameOf(part) << " is not among " << NameOf(whole);
  // The last blocks' tokens stand next to the mean, so every part is one range of columns.
  return {(whole.cls_blocks - part.cls_blocks) * encoder_width, part.Width(encoder_width)};
}

at::Tensor ComputeFeatures(Encoder& encoder, const at::Tensor& images, const FeatureSpec& spec) {
  const std::vector<at::Tensor> blocks = encoder.LastBlocks(images, std::max<int64_t>(1, spec.cls_blocks));
  std::vector<at::Tensor> parts;
  if (spec.cls_blocks > 0) {
    // A pool looks at all patches, of the norm [CLS] alone is needed.
    const bool token = encoder.options().variant.class_token;
    for (const at::Tensor& tokens : blocks) {
      parts.push_back(token ? encoder.Normalise(tokens.select(1, 0)) : encoder.Class(encoder.Normalise(tokens)));
    }
  }
  const at::Tensor patches = encoder.Patches(blocks.back());
  if (spec.patch_mean == FeatureSpec::PatchMean::kAfterNorm) parts.push_back(encoder.Normalise(patches).mean(1));
  if (spec.patch_mean == FeatureSpec::PatchMean::kBeforeNorm) {
    const at::Tensor mean = patches.mean(1);
    parts.push_back(at::layer_norm(mean, {mean.size(1)}, /*weight=*/{}, /*bias=*/{}, kNormEpsilon));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

}  // namespace tec
