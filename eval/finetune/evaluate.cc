#include "eval/finetune/evaluate.h"

#include <algorithm>
#include <utility>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "tec/base/status.h"
#include "tec/nn/autocast.h"
#include "tec/run/rank_runtime.h"

namespace tec {

absl::Status ClassifyImages(FinetuneModel& model, std::shared_ptr<const Dataset> dataset,
                            const EvaluateOptions& options, const LogitsSink& sink) {
  at::NoGradGuard no_gradient;
  const at::Device device = model.parameters().front().device();
  const int64_t share = (dataset->size() - options.rank + options.world_size - 1) / options.world_size;
  if (share <= 0) return absl::OkStatus();
  LoaderOptions loader_options;
  loader_options.batch_size = std::min(options.batch_size, share);
  loader_options.world_size = options.world_size;
  loader_options.rank = options.rank;
  loader_options.training = false;
  loader_options.threads = options.threads;
  loader_options.max_bad_fraction = options.max_bad_fraction;
  loader_options.bad_images_path = options.bad_images_path;
  loader_options.allocate = BatchMemory(device, options.pin_mem);
  const VitOptions& vit = model.options().encoder;
  TEC_ASSIGN_OR_RETURN(
      std::unique_ptr<Loader> loader,
      Loader::Create(dataset, std::make_shared<EvalTransform>(vit.image_size, vit.channels), loader_options));
  // Logits of thousands of classes, made and freed batch by batch among small things that stay, would leave malloc's
  // heap in pieces: gigabytes of it.
  KeepFreedMemory();
  int64_t seen = 0;
  loader->StartEpoch(0);
  while (true) {
    if (options.stop && options.stop()) return absl::CancelledError("stopped on request");
    TEC_ASSIGN_OR_RETURN(const Batch* batch, loader->Next());
    if (batch == nullptr) return absl::OkStatus();
    at::Tensor logits;
    {
      AutocastGuard autocast(device.type(), options.precision);
      logits = model.forward(BatchImages(*batch, device, options.mean, options.std));
    }
    TEC_RETURN_IF_ERROR(sink(*batch, logits.to(at::kCPU, at::kFloat).contiguous(), *loader));
    seen += batch->count;
    if (options.progress) options.progress(seen, share);
  }
}

absl::StatusOr<ClassifierCounts> EvaluateClassifier(FinetuneModel& model, std::shared_ptr<const Dataset> dataset,
                                                    const std::vector<int64_t>& labels_of_dataset,
                                                    const EvaluateOptions& options) {
  const int64_t classes = model.options().classes;
  ClassifierCounts result = {ReportCounter(classes), 0};
  const auto count = [&](const Batch& batch, const at::Tensor& logits, const Loader&) {
    for (int64_t i = 0; i < batch.count; ++i) {
      // The loader put a neighbour in the place of an unreadable image; it has a turn of its own.
      if (batch.sources[i] != batch.indices[i]) {
        ++result.unreadable;
        continue;
      }
      result.counter.Add(absl::Span<const float>(logits.const_data_ptr<float>() + i * classes, classes),
                         labels_of_dataset[batch.labels[i]]);
    }
    return absl::OkStatus();
  };
  TEC_RETURN_IF_ERROR(ClassifyImages(model, std::move(dataset), options, count));
  return result;
}

std::string FormatAccuracy(const ClassificationReport& report) {
  return absl::StrFormat("* Acc@1 %.3f Acc@5 %.3f loss %.3f", report.top1, report.top5, report.loss);
}

}  // namespace tec
