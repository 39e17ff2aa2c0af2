#include "tec/config/defaults.h"

#include <memory>

#include "tec/base/logging.h"

namespace tec::config_internal {
namespace {

// The reference's (recipe.md sections 6, 7, 9 and 13); what it does not know has the value that leaves its results
// alone.
constexpr char kShared[] = R"(
  name: ""
  seed: 5
  data {
    path: "/datasets01/imagenet_full_size/061417/"
    crop_scale_max: 1
    crop_ratio_min: 0.75
    crop_ratio_max: 1.3333333333333333
    flip_probability: 0.5
    channels: 3
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]
    max_bad_fraction: 0.001
    num_workers: 0
    pin_mem: true
    sampler: "own"
    train_fraction: 1
    classes: ""
    exclude: ""
  }
  optimizer {
    batch_size: 64
    accum_iter: 1
    lr: 0
    blr: 1e-3
    weight_decay: 0.05
    beta1: 0.9
    epsilon: 1e-8
    clip_grad: 0
  }
  schedule { start_epoch: 0 }
  checkpointing { resume: "" save_every_minutes: 0 }
  logging { output_dir: "./output_dir" print_freq: 20 }
  runtime { device: "cuda" threads: 0 }
)";

}  // namespace

void SetDefaults(const char* own, google::protobuf::Message* settings) {
  TEC_CHECK_OK(ParseText(kShared, "the shared defaults", settings));
  const std::unique_ptr<google::protobuf::Message> over(settings->New());
  TEC_CHECK_OK(ParseText(own, "the reference's defaults", over.get()));
  MergeOver(*over, settings);
}

}  // namespace tec::config_internal
