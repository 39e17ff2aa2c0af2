#include "eval/linear/linear_task.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "eval/linear/linear_report.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/settings_record.h"
#include "tec/optim/schedule.h"

namespace tec {
namespace {

// Names of what a checkpoint holds. Written into files: never rename.
constexpr char kUpdates[] = "updates";
constexpr char kMaxAccuracy[] = "max_accuracy";
constexpr char kBestHead[] = "best_head";
constexpr char kBestEpoch[] = "best_epoch";
constexpr char kLossSum[] = "epoch_loss_sum";
constexpr char kLossCount[] = "epoch_micro_steps";

// Equal everywhere to the last digit, so that two records can be compared as text.
std::string Exact(double value) { return absl::StrFormat("%.17g", value); }

const char* NameOf(LinearRunOptions::Crop crop) {
  switch (crop) {
    case LinearRunOptions::Crop::kSingleDraw:
      return "single_draw";
    case LinearRunOptions::Crop::kRandomResized:
      return "random_resized";
    case LinearRunOptions::Crop::kRandomResizedBilinear:
      return "random_resized_bilinear";
    case LinearRunOptions::Crop::kNone:
      return "none";
  }
  return "";
}

}  // namespace

absl::Status LinearTask::OpenData() {
  TEC_ASSIGN_OR_RETURN(inputs_, OpenLinearInputs(options_, context_));
  return absl::OkStatus();
}

absl::StatusOr<EpochPlan> LinearTask::Open(const LoadedState* resume) {
  TEC_RETURN_IF_ERROR(inputs_.CompareRanks());
  // Before computing features, which may take hours.
  if (resume != nullptr) {
    const std::vector<std::string> changes = CompareLines(resume->state.experiment, Record());
    if (!changes.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(resume->path, " is of another run: ", absl::StrJoin(changes, "; "),
                                                     ". Choose another --output_dir, or the same settings"));
    }
  }
  heads_.emplace(options_, inputs_.whole, inputs_.width(), inputs_.classes, inputs_.frozen.device);
  loss_names_ = {heads_->count() == 1 ? "loss" : "lowest_loss"};
  losses_.sum = at::zeros({heads_->count()}, at::TensorOptions(inputs_.frozen.device).dtype(at::kDouble));
  losses_.own = at::zeros_like(losses_.sum);
  TEC_RETURN_IF_ERROR(ReadHeldOut(&inputs_));
  absl::StatusOr<ProbeImages> images = ProbeImages::Open(options_, inputs_.settings, inputs_.frozen);
  TEC_RETURN_IF_ERROR(images.status());
  images_.emplace(*std::move(images));
  plan_.dataset_size = images_->images();
  plan_.images_per_micro_step = options_.batch_size * context_.group().world_size();
  plan_.steps_per_epoch = images_->batches();
  plan_.accum_iter = options_.accum_iter;
  plan_.seed = static_cast<int64_t>(inputs_.settings.seed);
  plan_.left_over_steps = false;
  TEC_RETURN_IF_ERROR(CheckPlan(plan_, inputs_.settings.data_path));
  if (options_.epoch_length > 0) plan_.steps_per_epoch = options_.epoch_length * options_.accum_iter;
  return plan_;
}

absl::StatusOr<RunPosition> LinearTask::Load(const LoadedState& resume, std::vector<std::string>* changes) {
  const TrainingState& state = resume.state;
  TEC_RETURN_IF_ERROR(heads_->Load(state, resume.path));
  TEC_RETURN_IF_ERROR(CopyNamed(state.extra, kLossSum, resume.path, losses_.sum));
  for (const char* name : {kUpdates, kBestHead, kBestEpoch, kLossCount}) {
    if (state.counters.count(name) == 0) return absl::DataLossError(absl::StrCat(resume.path, ": no ", name));
  }
  if (state.numbers.count(kMaxAccuracy) == 0) {
    return absl::DataLossError(absl::StrCat(resume.path, ": no ", kMaxAccuracy));
  }
  best_ = {state.numbers.at(kMaxAccuracy), state.counters.at(kBestHead), state.counters.at(kBestEpoch)};
  losses_.count = state.counters.at(kLossCount);
  RunPosition position;
  position.epoch = state.epoch + 1;
  position.updates = state.counters.at(kUpdates);
  position.next_micro_step = (position.updates - position.epoch * plan_.updates_per_epoch()) * plan_.accum_iter;
  if (position.next_micro_step < 0 || position.next_micro_step > plan_.steps_done()) {
    return absl::DataLossError(absl::StrCat(resume.path, ": ", position.updates, " updates, but ", position.epoch,
                                            " epochs of ", plan_.updates_per_epoch(), " are finished"));
  }
  return position;
}

std::vector<std::string> LinearTask::Describe() const {
  const int ranks = context_.group().world_size();
  return {absl::StrFormat(
      "linear probing by %s: %d head%s on %d-wide features, %d classes; %s%d images x %d micro-steps an update, %d "
      "updates an epoch; lr %.3g%s; results in %s",
      options_.protocol, heads_->count(), heads_->count() == 1 ? "" : "s", inputs_.whole.Width(inputs_.width()),
      inputs_.classes, ranks == 1 ? "" : absl::StrCat(ranks, " ranks x "), options_.batch_size, options_.accum_iter,
      plan_.updates_per_epoch(), options_.lr, options_.rates.size() == 1 ? "" : " times each rate",
      options_.frozen.output_dir)};
}

double LinearTask::LearningRate(double epoch) const {
  ScheduleOptions schedule;
  schedule.lr = options_.lr;
  schedule.min_lr = options_.min_lr;
  schedule.warmup_epochs = options_.warmup_epochs;
  schedule.epochs = static_cast<double>(options_.epochs);
  return tec::LearningRate(schedule, options_.lr_by_epoch ? std::floor(epoch) : epoch);
}

LinearTask::Place LinearTask::PlaceOf(int64_t epoch, int64_t step) const {
  const int64_t of_pass = images_->batches() / plan_.accum_iter;  // Whole updates; what is left over is not used.
  const int64_t update = epoch * plan_.updates_per_epoch() + step / plan_.accum_iter;
  return {update / of_pass, update % of_pass * plan_.accum_iter + step % plan_.accum_iter};
}

void LinearTask::StartEpoch(int64_t epoch, int64_t first_step) {
  const Place place = PlaceOf(epoch, first_step);
  started_pass_ = place.pass;
  images_->StartPass(place.pass, place.batch);
}

absl::StatusOr<at::Tensor> LinearTask::MicroStep(const MicroStepPlace& at) {
  const Place place = PlaceOf(at.epoch, at.step);
  if (place.pass != started_pass_) StartEpoch(at.epoch, at.step);
  TEC_ASSIGN_OR_RETURN(const ProbeImages::Batch batch, images_->Next(place.batch));
  const at::Tensor losses = heads_->Accumulate(batch.features, batch.labels);
  losses_.own.add_(losses);
  ++losses_.own_count;
  // A head with too high a rate may diverge; the run goes on while there is one that does not.
  const at::Tensor finite =
      losses.numel() == 1 ? losses : at::where(at::isfinite(losses), losses, std::numeric_limits<double>::infinity());
  return finite.min().reshape({1});
}

absl::StatusOr<UpdateResult> LinearTask::Update(double lr) {
  ProcessGroup& group = context_.group();
  TEC_RETURN_IF_ERROR(heads_->Average(group));
  TEC_RETURN_IF_ERROR(group.AllReduceSum(losses_.own, "averaging losses"));
  losses_.sum.add_(losses_.own.div_(group.world_size()));
  losses_.count += losses_.own_count;
  losses_.own.zero_();
  losses_.own_count = 0;
  heads_->Step(lr);
  return UpdateResult();
}

absl::Status LinearTask::FinishEpoch(const RunPosition& position, EpochReport* report) {
  const at::Tensor train_losses = (losses_.sum / static_cast<double>(losses_.count)).cpu();
  losses_.sum.zero_();
  losses_.count = 0;
  if (!context_.first_rank()) return absl::OkStatus();
  last_epoch_ = heads_->Evaluate(inputs_.held_out);
  int64_t head = 0;
  for (int64_t h = 1; h < heads_->count(); ++h) {
    if (last_epoch_[h].top1 > last_epoch_[head].top1) head = h;
  }
  const LinearHeads::Accuracy& accuracy = last_epoch_[head];
  if (accuracy.top1 > best_.max_accuracy) {
    best_ = {accuracy.top1, head, position.epoch};
    report->states.push_back({BestState(position), {kBestCheckpoint}});
  }
  context_.progress().Print(absl::StrFormat("* Acc@1 %.3f Acc@5 %.3f loss %.3f%s", accuracy.top1, accuracy.top5,
                                            accuracy.loss,
                                            heads_->count() == 1 ? "" : absl::StrCat(" (", heads_->NameOf(head), ")")));
  context_.progress().Print(absl::StrFormat("Max accuracy: %.2f%%", best_.max_accuracy));
  report->fields = {{"train_lr", position.lr * heads_->RateOf(head)},
                    {"train_loss", train_losses[head].item<double>()},
                    {"test_loss", accuracy.loss},
                    {"test_acc1", accuracy.top1},
                    {"test_acc5", accuracy.top5}};
  report->more = {
      {"n_parameters", heads_->ParametersOf(head)}, {"max_accuracy", best_.max_accuracy}, {"best_head", best_.head}};
  report->scalars = {
      {"perf/test_acc1", accuracy.top1}, {"perf/test_acc5", accuracy.top5}, {"perf/test_loss", accuracy.loss}};
  report->scalars_step = position.epoch;
  return absl::OkStatus();
}

std::string LinearTask::Record() const {
  std::vector<std::string> features, rates;
  for (const FeatureSpec& spec : options_.features) features.push_back(tec::NameOf(spec));
  for (const double rate : options_.rates) rates.push_back(Exact(rate));
  std::vector<std::string> lines = {
      inputs_.encoder_record(),
      absl::StrFormat("training images: %016x", FingerprintOf(*inputs_.frozen.data.train)),
      absl::StrCat("features: ", absl::StrJoin(features, " ")),
      absl::StrCat("rates: ", absl::StrJoin(rates, " ")),
      absl::StrCat("nb_classes: ", inputs_.classes),
      absl::StrCat("batch norm: ", options_.batch_norm ? "yes" : "no"),
      absl::StrCat("momentum: ", Exact(options_.optimizer.momentum)),
      absl::StrCat("trust coefficient: ", Exact(options_.optimizer.trust_coefficient)),
      absl::StrCat("weight_decay: ", Exact(options_.weight_decay)),
      absl::StrCat("crop: ", NameOf(options_.crop)),
      absl::StrCat("batch_size: ", options_.batch_size),
      absl::StrCat("accum_iter: ", options_.accum_iter),
      absl::StrCat("epochs: ", options_.epochs),
      absl::StrCat("epoch_length: ", options_.epoch_length),
      absl::StrCat("lr: ", Exact(options_.lr)),
      absl::StrCat("min_lr: ", Exact(options_.min_lr)),
      absl::StrCat("warmup_epochs: ", Exact(options_.warmup_epochs)),
      absl::StrCat("rate changes: ", options_.lr_by_epoch ? "every epoch" : "every update"),
      absl::StrCat("precision: ", at::toString(inputs_.settings.features.precision)),
      absl::StrCat("seed: ", inputs_.settings.seed),
  };
  // The records of one rank are those of before.
  if (context_.group().world_size() > 1) lines.push_back(absl::StrCat("ranks: ", context_.group().world_size()));
  return absl::StrJoin(lines, "\n");
}

RankFacts LinearTask::Facts() const {
  RankFacts facts;
  for (const absl::string_view line : absl::StrSplit(Record(), '\n')) {
    const std::pair<std::string, std::string> fact = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    facts.push_back(fact);
  }
  return facts;
}

TrainingState LinearTask::Save(const RunPosition& position) const {
  TrainingState state;
  heads_->Save(&state);
  TEC_CHECK_OK(state.extra.Add(kLossSum, ViewOf(losses_.sum)));
  state.epoch = position.epoch - 1;
  state.method = kLinearMethod;
  state.experiment = Record();
  state.counters[kUpdates] = position.updates;
  state.counters[kBestHead] = best_.head;
  state.counters[kBestEpoch] = best_.epoch;
  state.counters[kLossCount] = losses_.count;
  state.numbers[kMaxAccuracy] = best_.max_accuracy;
  return state;
}

TrainingState LinearTask::BestState(const RunPosition& position) const {
  TrainingState state;
  heads_->SaveOne(best_.head, position.updates * plan_.accum_iter, &state.model);
  state.epoch = position.epoch;
  state.method = kLinearMethod;
  state.experiment = Record();
  state.args.Set(kHeadFeatures, Value::String(tec::NameOf(heads_->FeaturesOf(best_.head))));
  state.args.Set(kHeadRate, Value::Double(heads_->RateOf(best_.head)));
  state.numbers[kMaxAccuracy] = best_.max_accuracy;
  return state;
}

}  // namespace tec
