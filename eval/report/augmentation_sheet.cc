#include "eval/report/augmentation_sheet.h"

#include <memory>
#include <string>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/loader/transform.h"
#include "eval/finetune/augmentation.h"
#include "tec/base/status.h"

namespace tec {
namespace {

absl::StatusOr<std::shared_ptr<const Transform>> TransformOf(const RunSubject& subject) {
  if (subject.finetuning) {
    TEC_ASSIGN_OR_RETURN(FinetuneAugmentation augmentation, AugmentationOf(*subject.finetuning));
    return augmentation.transform;
  }
  if (!subject.pretraining) return absl::InvalidArgumentError("an evaluation augments nothing");
  const config::Data& data = subject.data;
  TrainTransform::Options options;
  options.size = static_cast<int>(subject.pretraining->model().encoder().image_size());
  options.crop.scale_min = data.crop_scale_min();
  options.crop.scale_max = data.crop_scale_max();
  options.crop.ratio_min = data.crop_ratio_min();
  options.crop.ratio_max = data.crop_ratio_max();
  options.flip_probability = data.flip_probability();
  options.channels = static_cast<int>(data.channels());
  return std::make_shared<TrainTransform>(options);
}

}  // namespace

absl::StatusOr<ReportSection> AugmentationSheet(const RunSubject& subject, const Dataset& dataset,
                                                const std::vector<int64_t>& images, int64_t epochs, Gallery* gallery) {
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<const Transform> transform, TransformOf(subject));
  TransformScratch scratch;
  std::string html = absl::StrCat("<p>Each row: what ", epochs, " epochs see of one picture, before normalisation",
                                  subject.finetuning ? ", erasing and mixing" : "", ".</p>\n");
  const int64_t size = transform->size();
  for (size_t i = 0; i < images.size(); ++i) {
    const int64_t index = images[i];
    const absl::StatusOr<std::string> bytes = dataset.Read(index);
    if (!bytes.ok()) continue;
    std::string row;
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      at::Tensor pixels = at::empty({size, size, transform->channels()}, at::kByte);
      const SampleKey key = {static_cast<uint64_t>(subject.seed), static_cast<uint64_t>(epoch),
                             static_cast<uint64_t>(index)};
      if (!transform->Apply(*bytes, key, &scratch, pixels.mutable_data_ptr<uint8_t>()).ok()) break;
      row += gallery->Photo(
          pixels, epoch == 0 ? absl::StrCat("epoch 0 of ", dataset.name(index)) : absl::StrCat("epoch ", epoch),
          absl::StrFormat("augmentation/%02d", i), epoch);
    }
    if (!row.empty()) absl::StrAppend(&html, "<div class=\"pictures\">\n", row, "</div>\n");
  }
  return ReportSection{"augmentation", "Augmentation", html};
}

}  // namespace tec
