// Mixup and CutMix of a batch and its labels.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/finetune/mix_batch.h"
#include "tec/base/status.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/mixing.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kMixTolerance = 1e-6;

}  // namespace

absl::Status CheckMixup(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json cases, file->Metadata("cases"));
  TEC_ASSIGN_OR_RETURN(const int64_t classes, file->Metadata("num_classes"));
  TEC_ASSIGN_OR_RETURN(const at::Tensor images, InputTensor(*file, "in.images", DType::kFloat32, {-1, 3, -1, -1}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor labels, InputTensor(*file, "in.labels", DType::kInt64, {images.size(0)}));
  if (images.size(0) % 2 != 0) return absl::InvalidArgumentError("mixing takes an even number of images");
  if (labels.min().item<int64_t>() < 0 || labels.max().item<int64_t>() >= classes) {
    return absl::InvalidArgumentError(absl::StrCat("in.labels are not in 0..", classes - 1));
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    const nlohmann::json& one = cases[i];
    const std::string prefix = absl::StrCat("case", i, ".");
    const double smoothing = one.at("smoothing");
    const absl::StatusOr<Mix> mix =
        MixOf(one.at("kind"), one.at("value"), static_cast<int>(images.size(2)), static_cast<int>(images.size(3)));
    if (!mix.ok() || !(smoothing >= 0 && smoothing < 1)) {
      item.Fail(prefix + "*", mix.ok() ? "the smoothing is not in [0, 1)" : std::string(mix.status().message()));
      continue;
    }
    const double lambda = one.at("effective_lam");
    item.Expect(prefix + "effective_lam", mix->lambda == lambda, absl::StrCat(mix->lambda, ", not ", lambda));
    Compare(item, *file, prefix + "targets", MixTargets(labels, classes, smoothing, {*mix}),
            GoldenTolerance::Absolute(kMixTolerance));
    // Cases that differ in the smoothing alone hold no images.
    if (!file->Has(prefix + "images")) continue;
    Compare(item, *file, prefix + "images", MixImages(images, {*mix}),
            mix->kind == Mix::Kind::kMixup ? GoldenTolerance::Absolute(kMixTolerance) : GoldenTolerance::Bits());
  }
  return absl::OkStatus();
}

}  // namespace tec
