#include "tec/config/own_images.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/logging.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/config/text.h"

namespace tec {
namespace {

// The paper's (tec/config/experiments).
constexpr double kRate = 2.4e-3, kRateBatch = 4096;
constexpr int64_t kLargestMicroBatch = 256, kLargestMicroBatchOnCpu = 64;

int64_t PowerOfTwoBelow(double value) {
  int64_t power = 1;
  while (2.0 * static_cast<double>(power) <= value) power *= 2;
  return power;
}

bool IsMae(const std::string& family) {
  return family == "mae" || family == "hf_mae" || family == "timm" || family == "tec";
}

void FillModels(const OwnImagesFacts& facts, const config::Experiment& given, config::Experiment* experiment) {
  // The models' image size: given, or the file's. DINOv2's tables are for 518 pixels, more than training takes.
  int64_t grid = facts.base.image_size() / facts.base.patch_size();
  if (facts.interpolates_positions && grid > 16) grid = 16;
  const int64_t patch = facts.base.patch_size();
  const int64_t image = given.model().encoder().has_image_size() ? given.model().encoder().image_size() : grid * patch;
  if (image % patch == 0) grid = image / patch;

  config::BaseModel* base = experiment->mutable_base_model();
  if (!given.base_model().has_name()) {
    base->set_name("custom");
    *base->mutable_encoder() = facts.base;
    base->mutable_encoder()->set_image_size(image);
    if (grid * patch != facts.base.image_size()) base->set_interpolate_positions(true);
  }
  config::Model* model = experiment->mutable_model();
  if (!given.model().has_name()) {
    model->set_name("custom");
    *model->mutable_encoder() = facts.base;
    model->mutable_encoder()->set_image_size(image);
    // The reference's for its two sizes; for others two thirds of the width as there, in heads of 32 channels.
    const int64_t width = facts.base.width();
    const int64_t decoder = width == 768    ? 512
                            : width == 1024 ? 768
                                            : std::max<int64_t>(32, (2 * width / 3 + 16) / 32 * 32);
    model->mutable_decoder()->set_width(decoder);
    model->mutable_decoder()->set_depth(2);
    model->mutable_decoder()->set_heads(width == 768 || width == 1024 ? 16 : decoder / 32);
  }
  model->set_mlp_token(true);
  model->set_pred_att(true);

  const RelationTargets targets = RelationTargetsFor(facts.family, facts.base.depth(), grid);
  base->set_topkatt(targets.selected);
  experiment->mutable_losses()->set_att_tau(targets.tau);
}

void FillSchedule(const OwnImagesFacts& facts, const config::Experiment& given, config::Experiment* experiment) {
  config::Schedule* schedule = experiment->mutable_schedule();
  const double epochs = 300 * std::sqrt(1e6 / static_cast<double>(facts.images));
  schedule->set_epochs(std::clamp<int64_t>(10 * std::llround(epochs / 10), 100, 1600));
  if (given.schedule().has_epochs()) schedule->set_epochs(given.schedule().epochs());
  schedule->set_warmup_epochs(std::min(40.0, static_cast<double>(schedule->epochs()) / 10));
  // Five numbered checkpoints: of 1600 epochs one every 50 would fill a disk.
  experiment->mutable_checkpointing()->set_save_period(std::max<int64_t>(1, schedule->epochs() / 4));
  experiment->mutable_checkpointing()->set_save_every_minutes(30);
}

// Needs the models.
void FillBatch(const OwnImagesFacts& facts, const config::Experiment& given, config::Experiment* experiment) {
  const double images = static_cast<double>(facts.images);
  const int64_t world = facts.world_size;
  int64_t update = std::clamp<int64_t>(PowerOfTwoBelow(images / 64), 32, static_cast<int64_t>(kRateBatch));
  update = std::max(world, std::min(update, PowerOfTwoBelow(images)));
  config::Optimizer* optimizer = experiment->mutable_optimizer();
  if (given.optimizer().has_batch_size()) {
    optimizer->set_batch_size(given.optimizer().batch_size());
  } else {
    config::Experiment resolved = *experiment;
    MergeOver(given, &resolved);
    resolved = Resolve(resolved);
    // Weights, gradients and AdamW's moments in float32, and what the allocators and the base model take.
    const double weights = 16 * TrainedParameters(resolved) + 8 * TrainedParameters(resolved);
    const double room = 0.6 * static_cast<double>(facts.memory) - weights;
    const int64_t most = facts.gpu ? kLargestMicroBatch : kLargestMicroBatchOnCpu;
    const double fits = std::max(1.0, room / ActivationBytesPerImage(resolved));
    optimizer->set_batch_size(std::min({most, std::max<int64_t>(1, update / world), PowerOfTwoBelow(fits)}));
  }
  const int64_t micro = std::max<int64_t>(1, optimizer->batch_size() * world);
  optimizer->set_accum_iter(std::max<int64_t>(1, update / micro));
  if (given.optimizer().has_accum_iter()) optimizer->set_accum_iter(given.optimizer().accum_iter());
  if (!given.optimizer().has_lr() && !given.optimizer().has_blr()) {
    const double together = static_cast<double>(micro * optimizer->accum_iter());
    optimizer->set_lr(kRate * std::sqrt(together / kRateBatch));
  }
}

}  // namespace

RelationTargets RelationTargetsFor(const std::string& family, int64_t depth, int64_t grid) {
  const double patches = static_cast<double>(grid * grid), usual = 14 * 14, small = 8 * 8;
  const double selected = (IsMae(family) ? 15 : 9) * std::sqrt(patches / usual);
  const double mae_tau = depth >= 24 ? 1.4 : 1.8;
  const double share = std::clamp((patches - small) / (usual - small), 0.0, 1.0);
  RelationTargets targets;
  targets.selected = std::clamp<int64_t>(std::llround(selected), 1, std::max<int64_t>(1, grid * grid));
  targets.tau = std::round(100 * (IsMae(family) ? 1 + (mae_tau - 1) * share : 1.0)) / 100;
  return targets;
}

absl::Status FillOwnImages(const OwnImagesFacts& facts, const config::Experiment& given,
                           config::Experiment* experiment) {
  TEC_CHECK(facts.world_size >= 1 && facts.base.patch_size() > 0);
  if (facts.images < 1) return absl::InvalidArgumentError("there are no training images");
  experiment->set_name(kOwnImages);
  FillModels(facts, given, experiment);
  experiment->mutable_data()->set_channels(facts.channels);
  if (facts.channels != 3) {
    // ImageNet's are of RGB; Validate asks for others.
    experiment->mutable_data()->clear_mean();
    experiment->mutable_data()->clear_std();
  }
  FillSchedule(facts, given, experiment);
  FillBatch(facts, given, experiment);
  MergeOver(given, experiment);
  return absl::OkStatus();
}

double ActivationBytesPerImage(const config::Experiment& resolved) {
  const config::Model& model = resolved.model();
  const config::Vit& vit = model.encoder();
  const double grid = static_cast<double>(vit.image_size()) / static_cast<double>(vit.patch_size());
  const double tokens = 1 + grid * grid, visible = 1 + grid * grid * (1 - resolved.masking().mask_ratio());
  // Each base model has decoders of its own.
  const double passes = (model.pred_att() ? 2 : 1) * (1 + resolved.further_base_models_size());
  const double values = visible * static_cast<double>(vit.width() * vit.depth()) +
                        passes * tokens * static_cast<double>(model.decoder().width() * model.decoder().depth());
  // 28 numbers are kept for each token, channel and block: 48 MB of ViT-B/16 in bfloat16.
  const double bytes = resolved.runtime().precision() == config::FLOAT32 ? 4 : 2;
  return 28 * bytes * values;
}

std::string DescribeOwnImages(const OwnImagesFacts& facts, const config::Experiment& resolved, double flops_per_second,
                              double decoded_per_second) {
  const config::Optimizer& optimizer = resolved.optimizer();
  const int64_t micro = optimizer.batch_size() * facts.world_size, update = micro * optimizer.accum_iter();
  const int64_t an_epoch = facts.images / micro / std::max<int64_t>(1, optimizer.accum_iter());
  const int64_t epochs = resolved.schedule().epochs();
  std::string text = absl::StrFormat("own_images: %d images, %d epochs of %d updates of %d images: %d updates",
                                     facts.images, epochs, an_epoch, update, epochs * an_epoch);
  const double images = static_cast<double>(epochs * an_epoch * update);
  const double processes = static_cast<double>(facts.world_size);
  double seconds = 0;
  if (flops_per_second > 0) seconds = images * TrainingFlopsPerImage(resolved) / (flops_per_second * processes);
  if (decoded_per_second > 0) seconds = std::max(seconds, images / (decoded_per_second * processes));
  if (seconds > 0) {
    absl::StrAppendFormat(&text, ", about %s on %s",
                          seconds < 5400 ? absl::StrFormat("%.0f minutes", std::max(1.0, seconds / 60))
                                         : absl::StrFormat("%.2g hours", seconds / 3600),
                          resolved.runtime().device());
    if (processes > 1) absl::StrAppend(&text, " x ", facts.world_size);
  }
  return text;
}

}  // namespace tec
