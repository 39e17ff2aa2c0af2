#include "eval/finetune/finetune_task.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/finetune/batch_augmentation.h"
#include "eval/finetune/finetune_record.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/own_encoder.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/config/finetune.h"
#include "tec/config/settings_record.h"
#include "tec/nn/drop_path.h"
#include "tec/nn/module_state.h"
#include "tec/optim/parameter_groups.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/precision.h"

namespace tec {
namespace {

constexpr char kBest[] = "best_checkpoint.pth";

// Beside what the loop writes. Written into files: never rename.
constexpr char kMaxAccuracy[] = "max_accuracy";
constexpr char kMaxEmaAccuracy[] = "max_ema_accuracy";

}  // namespace

const std::vector<std::string>& FinetuneTask::loss_names() const {
  static const auto* const names = new std::vector<std::string>{"loss"};
  return *names;
}

absl::Status FinetuneTask::OpenData() {
  TEC_ASSIGN_OR_RETURN(data_, OpenFinetuneData(&settings_, context_.progress()));
  return absl::OkStatus();
}

absl::StatusOr<EpochPlan> FinetuneTask::Open(const LoadedState* resume) {
  TEC_ASSIGN_OR_RETURN(models_, MakeFinetuneModels(&settings_, resume, context_));
  if (models_.average) averaging_.emplace(*models_.model, *models_.average, settings_.model_ema_decay());
  const config::Optimizer& optimizer = settings_.optimizer();
  optimizer_ = std::make_unique<AdamW>(FinetuningGroups(NamedTrainable(*models_.model), settings_.encoder().depth(),
                                                        optimizer.weight_decay(), settings_.layer_decay()),
                                       AdamWOptions{optimizer.beta1(), optimizer.beta2(), optimizer.epsilon()});
  FinetuneStepOptions step;
  step.accum_iter = optimizer.accum_iter();
  step.smoothing = settings_.augmentation().smoothing();
  step.clip_grad = optimizer.clip_grad();
  step.precision = ComputeType(settings_.runtime().precision());
  step.group = &context_.group();
  step_ = std::make_unique<FinetuneStep>(*models_.model, *optimizer_, step);
  schedule_.lr = tec::LearningRate(optimizer, context_.group().world_size());
  schedule_.min_lr = settings_.schedule().min_lr();
  schedule_.warmup_epochs = settings_.schedule().warmup_epochs();
  schedule_.epochs = static_cast<double>(settings_.schedule().epochs());
  TEC_ASSIGN_OR_RETURN(augmentation_, AugmentationOf(settings_));
  TEC_ASSIGN_OR_RETURN(
      batches_, TrainingBatches::Make(data_.train, augmentation_.transform, settings_.data(), optimizer.batch_size(),
                                      settings_.seed(), settings_.logging().output_dir(), context_));
  return plan();
}

absl::StatusOr<RunPosition> FinetuneTask::Load(const LoadedState& resume, std::vector<std::string>* changes) {
  const TrainingState& state = resume.state;
  std::optional<config::Finetune> before;
  if (!state.experiment.empty()) {
    TEC_ASSIGN_OR_RETURN(before, ParseFinetune(state.experiment, absl::StrCat(resume.path, " (its experiment)")));
  }
  const AdamWOptions& adamw = optimizer_->options();
  TEC_ASSIGN_OR_RETURN(*changes,
                       ChangedSettings(resume, before ? &*before : nullptr, settings_, ReferenceArguments(settings_),
                                       adamw.beta1, adamw.beta2, adamw.epsilon));
  TEC_ASSIGN_OR_RETURN(RunPosition position, LoadPosition(resume, plan(), loss_names(), changes));
  const std::string other = absl::StrCat(
      resume.path, " is a checkpoint of another model; choose another --output_dir or --resume, or the same model");
  TEC_RETURN_IF_ERROR(Annotate(LoadState(*models_.model, state.model), other));
  if (averaging_ && state.model_ema.empty()) {
    averaging_->Reset();
    changes->push_back(absl::StrCat("model_ema: begins with the weights of ", resume.path, ", which has none"));
  } else if (averaging_) {
    TEC_RETURN_IF_ERROR(Annotate(LoadState(*models_.average, state.model_ema), other));
  }
  TEC_RETURN_IF_ERROR(Annotate(LoadOptimizerState(*optimizer_, state.optimizer), other));
  if (step_->scaler() != nullptr && state.scaler) *step_->scaler() = LossScaler(LossScalerStateOf(*state.scaler));
  const auto number = [&state](const char* name, double otherwise) {
    const auto found = state.numbers.find(name);
    return found == state.numbers.end() ? otherwise : found->second;
  };
  standing_.max_accuracy = number(kMaxAccuracy, -1);
  standing_.max_ema_accuracy = number(kMaxEmaAccuracy, -1);
  return position;
}

std::vector<std::string> FinetuneTask::Describe() const {
  std::vector<std::string> lines = {
      absl::StrFormat("finetuning: %s, %d classes%s", settings_.model(), settings_.nb_classes(),
                      settings_.finetune().empty() ? ", from scratch" : absl::StrCat(", from ", settings_.finetune())),
      absl::StrFormat("%s: %d training and %d held-out images; %d ranks x %d images x %d micro-steps an update, %d "
                      "updates an epoch",
                      settings_.data().path(), data_.train->size(), data_.held_out->size(),
                      context_.group().world_size(), settings_.optimizer().batch_size(), plan().accum_iter,
                      plan().updates_per_epoch()),
      absl::StrFormat("lr %.3g, %s on %s, results in %s", schedule_.lr,
                      config::Precision_Name(settings_.runtime().precision()), context_.device().str(),
                      settings_.logging().output_dir())};
  if (averaging_) {
    const double updates = static_cast<double>(settings_.schedule().epochs() * plan().updates_per_epoch());
    lines.push_back(absl::StrFormat("model_ema: decay %g; after all epochs %.2g %% of it are the starting weights",
                                    settings_.model_ema_decay(), 100 * std::pow(settings_.model_ema_decay(), updates)));
  }
  return lines;
}

std::string FinetuneTask::SettingsText() const { return ToText(settings_); }

ImageCost FinetuneTask::Cost() const {
  return {TrainingFlopsPerImage(settings_), ComputeType(settings_.runtime().precision())};
}

std::vector<std::string> FinetuneTask::DiffersFrom(const std::string& recorded) const {
  absl::StatusOr<config::Finetune> before = ParseFinetune(recorded, "experiment.textproto");
  if (!before.ok()) return {};
  // What a run fills in from its checkpoint and its images is still open here.
  config::Finetune& was = *before;
  was.clear_norm_epsilon();
  if (settings_.model() == "from_checkpoint") {
    was.set_model(settings_.model());
    *was.mutable_encoder() = settings_.encoder();
  }
  if (!settings_.has_mlp_token()) was.clear_mlp_token();
  if (settings_.nb_classes() == 0) was.set_nb_classes(0);
  return DifferencesOfRuns(was, settings_);
}

absl::StatusOr<at::Tensor> FinetuneTask::MicroStep(const MicroStepPlace& place) {
  TEC_ASSIGN_OR_RETURN(const Batch* batch, batches_->Next(place.step));
  const BatchDraws draws = DrawBatch(augmentation_, settings_, *batch, place.epoch,
                                     place.step * context_.group().world_size() + context_.group().rank());
  at::Tensor uniforms;
  if (settings_.drop_path() > 0) {
    uniforms = DropPathUniforms(static_cast<uint64_t>(settings_.seed()), static_cast<uint64_t>(place.epoch),
                                batch->indices, settings_.encoder().depth());
  }
  const TrainingBatches::OnDevice sent = batches_->Send(
      *batch, {at::tensor(batch->labels, at::kLong), uniforms, draws.erased.places, draws.erased.values, draws.shares});
  at::Tensor images = sent.images, targets = sent.rest[0];
  uniforms = sent.rest[1];
  AugmentBatch({{sent.rest[2], sent.rest[3]}, draws.mixes, sent.rest[4]}, settings_, &images, &targets);
  if (place.in_update) return step_->Accumulate(images, targets, uniforms).reshape({1});
  // The reference computes a gradient here and throws it away; its loss does count in the epoch's mean.
  at::NoGradGuard no_gradient;
  return step_->Loss(images, targets, uniforms).reshape({1});
}

absl::StatusOr<UpdateResult> FinetuneTask::Update(double lr) {
  TEC_RETURN_IF_ERROR(step_->AverageOverRanks());
  const UpdateResult update = step_->Finish(lr);
  if (averaging_ && !update.skipped) averaging_->Update();
  return update;
}

absl::Status FinetuneTask::FinishEpoch(const RunPosition& position, EpochReport* report) {
  std::optional<HeldOutEvaluation::Results>& newest = standing_.newest;
  TEC_ASSIGN_OR_RETURN(newest, evaluation_.Run(models_));
  const ClassificationReport& accuracy = newest->model.report;
  if (accuracy.top1 > standing_.max_accuracy) report->names.push_back(kBest);
  standing_.max_accuracy = std::max(standing_.max_accuracy, accuracy.top1);
  context_.progress().Print(absl::StrFormat("Max accuracy: %.2f%%", standing_.max_accuracy));
  if (newest->average) {
    standing_.max_ema_accuracy = std::max(standing_.max_ema_accuracy, newest->average->report.top1);
    context_.progress().Print(absl::StrFormat("Max accuracy of model_ema: %.2f%%", standing_.max_ema_accuracy));
  }
  if (position.epoch + 1 == settings_.schedule().epochs()) evaluation_.Print(*newest);

  int64_t parameters = 0;
  for (const at::Tensor& parameter : optimizer_->parameters()) parameters += parameter.numel();
  const auto add = [report](const std::string& name, double value, JsonFields* fields) {
    fields->emplace_back(name, value);
    report->scalars.emplace_back("perf/" + name, value);
  };
  add("test_loss", accuracy.loss, &report->fields);
  add("test_acc1", accuracy.top1, &report->fields);
  add("test_acc5", accuracy.top5, &report->fields);
  report->scalars_step = position.epoch;
  report->more = {{"n_parameters", parameters}, {"max_accuracy", standing_.max_accuracy}};
  if (newest->average) {
    const ClassificationReport& average = newest->average->report;
    add("test_ema_loss", average.loss, &report->more);
    add("test_ema_acc1", average.top1, &report->more);
    add("test_ema_acc5", average.top5, &report->more);
    report->more.emplace_back("max_ema_accuracy", standing_.max_ema_accuracy);
  }
  if (!context_.first_rank()) return absl::OkStatus();
  const std::string checkpoint = absl::StrCat(settings_.logging().output_dir(), "/", CheckpointFolder::kThis);
  return evaluation_.Write(*newest, checkpoint, position.epoch, standing_.max_accuracy);
}

ReplicatedTensors FinetuneTask::Replicated() const {
  ReplicatedTensors replicas = ReplicasOf(*models_.model, *optimizer_);
  if (!models_.average) return replicas;
  for (auto& [name, tensor] : NamedState(*models_.average)) replicas.emplace_back("average of " + name, tensor);
  return replicas;
}

TrainingState FinetuneTask::Save(const RunPosition& position) const {
  TrainingState state;
  state.model = ViewsOf(NamedState(*models_.model));
  if (models_.average) state.model_ema = ViewsOf(NamedState(*models_.average));
  state.optimizer = OptimizerStateOf(*optimizer_, position.lr, /*with_lr_scale=*/true);
  if (const LossScaler* scaler = step_->scaler()) state.scaler = ScalerStateOf(*scaler);
  state.args = ReferenceArguments(settings_);
  if (models_.encoder.is_dict()) state.args.Set(kEncoderRecord, models_.encoder);
  state.method = "finetune";
  config::Finetune record = WeightDeciding(settings_);
  *record.mutable_class_names() = settings_.class_names();
  state.experiment = ToText(record);
  SavePosition(position, plan(), loss_names(), &state);
  state.numbers[kMaxAccuracy] = standing_.max_accuracy;
  if (models_.average) state.numbers[kMaxEmaAccuracy] = standing_.max_ema_accuracy;
  return state;
}

}  // namespace tec
