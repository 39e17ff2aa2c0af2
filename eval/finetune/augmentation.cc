#include "eval/finetune/augmentation.h"

#include <utility>

#include "tec/base/status.h"

namespace tec {

absl::StatusOr<FinetuneAugmentation> AugmentationOf(const config::Finetune& resolved) {
  const config::Data& data = resolved.data();
  const config::Augmentation& settings = resolved.augmentation();
  const int size = static_cast<int>(resolved.encoder().image_size());

  FinetuneTransform::Options transform;
  transform.crop.size = size;
  transform.crop.channels = static_cast<int>(data.channels());
  transform.crop.crop = {data.crop_scale_min(), data.crop_scale_max(), data.crop_ratio_min(), data.crop_ratio_max()};
  transform.crop.flip_probability = data.flip_probability();
  if (settings.aa().empty()) {
    transform.color_jitter = settings.color_jitter();
  } else {
    absl::StatusOr<RandAugmentPolicy> policy = ParseRandAugment(settings.aa());
    TEC_RETURN_IF_ERROR(Annotate(policy.status(), "augmentation.aa (--aa)"));
    transform.rand_augment = *std::move(policy);
  }
  if (data.channels() == 3) {
    transform.style.fill = FinetuneTransform::FillOf({data.mean(0), data.mean(1), data.mean(2)});
  }

  FinetuneAugmentation result;
  result.transform = std::make_shared<FinetuneTransform>(transform);
  result.erasing.probability = settings.reprob();
  TEC_ASSIGN_OR_RETURN(result.erasing.mode, ParseEraseMode(settings.remode()));
  result.erasing.most = static_cast<int>(settings.recount());
  result.erasing.channels = static_cast<int>(data.channels());

  MixOptions& mixing = result.mixing;
  mixing.mixup_alpha = settings.mixup();
  mixing.cutmix_alpha = settings.cutmix();
  if (settings.cutmix_minmax_size() == 2) {
    mixing.cutmix_minmax = std::make_pair(settings.cutmix_minmax(0), settings.cutmix_minmax(1));
  }
  mixing.probability = settings.mixup_prob();
  mixing.switch_probability = settings.mixup_switch_prob();
  TEC_ASSIGN_OR_RETURN(mixing.mode, ParseMixMode(settings.mixup_mode()));
  TEC_RETURN_IF_ERROR(CheckMixSize(mixing, size, size));
  return result;
}

}  // namespace tec
