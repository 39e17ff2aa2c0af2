#include "eval/finetune/run_finetune.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "c10/core/DeviceGuard.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "eval/features/pretrained.h"
#include "eval/finetune/augmentation.h"
#include "eval/finetune/evaluate.h"
#include "eval/finetune/finetune_record.h"
#include "eval/finetune/finetune_step.h"
#include "eval/finetune/mix_batch.h"
#include "eval/finetune/weight_average.h"
#include "eval/metrics/class_map.h"
#include "eval/metrics/report.h"
#include "eval/progress/count_progress.h"
#include "nlohmann/json.hpp"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/config/run_record.h"
#include "tec/config/settings_record.h"
#include "tec/dist/process_group.h"
#include "tec/models/factory.h"
#include "tec/nn/drop_path.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/nn/modules.h"
#include "tec/optim/parameter_groups.h"
#include "tec/optim/schedule.h"
#include "tec/run/event_writer.h"
#include "tec/run/json_log.h"
#include "tec/run/meter.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/precision.h"
#include "tec/run/progress.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/run_position.h"
#include "tec/run/run_saver.h"
#include "tec/run/shared_bad_images.h"
#include "tec/run/stop_signal.h"
#include "tec/run/torch_runtime.h"

namespace tec {
namespace {

constexpr char kMethod[] = "finetune";
constexpr char kFromCheckpoint[] = "from_checkpoint";
constexpr char kBest[] = "best_checkpoint.pth";
constexpr char kResults[] = "results.json";

// Names of what a checkpoint holds beside the reference's entries. Written into files: never rename.
constexpr char kUpdates[] = "updates";
constexpr char kDatasetSize[] = "dataset_size";
constexpr char kImagesPerMicroStep[] = "images_per_micro_step";
constexpr char kMeterCount[] = "epoch_micro_steps_logged";
constexpr char kLossTotal[] = "epoch_sum_loss";
constexpr char kLrTotal[] = "epoch_sum_lr";
constexpr char kMaxAccuracy[] = "max_accuracy";
constexpr char kMaxEmaAccuracy[] = "max_ema_accuracy";

double Now() { return absl::GetCurrentTimeNanos() * 1e-9; }

std::vector<float> Floats(const google::protobuf::RepeatedField<double>& values) {
  return {values.begin(), values.end()};
}

struct Evaluation {
  ClassificationReport report;
  int64_t unreadable = 0;  // Held-out images that were not counted.
};

class FinetuneRun {
 public:
  FinetuneRun(const config::Finetune& settings, const RunFinetuneOptions& options)
      : settings_(settings), options_(options) {}

  absl::StatusOr<RunFinetuneResult> Run();

 private:
  // Before the first step.
  absl::Status OpenData();
  // The checkpoint to go on from, if there is one; nothing is loaded into a model yet.
  absl::Status FindCheckpoint();
  absl::StatusOr<Pretrained> ReadStart(const std::string& path) const;
  absl::Status TakeShape();
  absl::Status MakeModel();
  absl::Status MakeLoader();
  absl::Status ResumeFrom(const TrainingState& state);
  absl::Status OpenLogs();
  void Announce();

  absl::StatusOr<RunFinetuneResult> EvaluateOnly();
  absl::Status Train();
  // One epoch from next_micro_step_ on. Sets stop_ and returns early if the run is to stop within the epoch.
  absl::Status TrainEpoch();
  // Erases and mixes: float32 [N, c, S, S] normalised images, int64 [N] labels; soft targets take the labels' place
  // where mixing is on.
  void Augment(const Batch& batch, at::Tensor* images, at::Tensor* targets) const;
  absl::Status FinishUpdate();
  absl::Status LogUpdate(const FinetuneStep::Update& update, double loss);
  // After the last micro-step: evaluation, log, checkpoints.
  absl::Status FinishEpoch();
  // ema: of average_, where there is one.
  absl::Status LogEpoch(const ClassificationReport& accuracy, const std::optional<Evaluation>& ema, double seconds,
                        double waited);
  // The model, or its average.
  absl::StatusOr<Evaluation> Evaluate(FinetuneModel& model);
  // results.json: the evaluation of `checkpoint`, the state after `epoch`.
  absl::Status WriteResults(const std::string& checkpoint, int64_t epoch, const Evaluation& evaluation,
                            const std::optional<Evaluation>& ema);
  // Prints what the classes are taken for.
  void PrintReport(const Evaluation& evaluation, const std::optional<Evaluation>& ema);
  // Of the model, which may have more than the images: those have numbers.
  std::vector<std::string> ClassNames() const;
  absl::Status NonFinite(const std::string& what);
  // Brings the losses since the last update here, as means over the ranks, adds them to the meters, and agrees on
  // stop_. Aborted if one is not finite. The mean of all.
  absl::StatusOr<double> CollectLosses();
  void ShowProgress();

  TrainingState State() const;
  // this_checkpoint, by the first rank, in the background; every rank learns whether the save before went well.
  absl::Status SaveThis() { return group_->Agree(first_rank() ? saver_->Save(State()) : absl::OkStatus()); }

  bool first_rank() const { return group_->rank() == 0; }
  int64_t images_per_micro_step() const { return settings_.optimizer().batch_size() * group_->world_size(); }
  std::string OutputPath(const char* name) const { return absl::StrCat(settings_.logging().output_dir(), "/", name); }

  config::Finetune settings_;  // As given; the model's shape and the classes filled in before the first step.
  const RunFinetuneOptions& options_;
  c10::Device device_ = c10::Device(c10::kCPU);
  std::optional<c10::OptionalDeviceGuard> device_guard_;
  std::unique_ptr<ProcessGroup> group_;
  std::shared_ptr<const Dataset> train_, held_out_;
  std::vector<int64_t> class_of_held_out_;
  FinetuneAugmentation augmentation_;
  std::unique_ptr<Loader> loader_;
  std::optional<SharedBadImages> bad_images_;
  std::shared_ptr<FinetuneModel> model_, average_;  // The average: null without --model_ema.
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<FinetuneStep> step_;
  std::optional<WeightAverage> averaging_;
  std::optional<RunSaver> saver_;
  std::optional<LoadedState> resume_;
  std::optional<Pretrained> start_;      // The content of --finetune, from its reading to its loading.
  std::unique_ptr<EventWriter> events_;  // First rank only.
  std::unique_ptr<Progress> progress_;
  StopSignal stop_signal_;

  ScheduleOptions schedule_;
  int64_t accum_iter_ = 1, steps_per_epoch_ = 0, updates_per_epoch_ = 0;

  // Where the run stands.
  int64_t epoch_ = 0, next_micro_step_ = 0, updates_ = 0;
  double lr_ = 0;                                     // Of the newest update, before the groups' scales.
  double max_accuracy_ = -1, max_ema_accuracy_ = -1;  // No evaluation yet.
  bool stop_ = false;                                 // The same on every rank.
  std::vector<double> update_losses_;                 // This rank's, of the micro-steps since the last update.
  Meter loss_meter_, lr_meter_;

  // Clocks; nothing of this is saved.
  double start_time_ = 0, update_time_ = 0, update_wait_ = 0, epoch_time_ = 0, epoch_wait_ = 0;
  int64_t steps_done_ = 0, epoch_steps_done_ = 0, update_steps_ = 0;
  Meter step_seconds_, step_wait_;
  RunFinetuneResult result_;
};

absl::Status FinetuneRun::OpenData() {
  const std::string& path = settings_.data().path();
  DatasetOptions dataset_options;
  dataset_options.index_folder = settings_.logging().output_dir();
  const auto open = [&](Split split, const char* what) -> absl::StatusOr<std::shared_ptr<const Dataset>> {
    TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset, OpenDataset(path, split, dataset_options));
    if (!dataset->labelled()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the ", what,
                       " images have no labels; finetuning needs one folder a class, or a "
                       "list with labels"));
    }
    absl::StatusOr<std::shared_ptr<const Dataset>> kept = KeepClasses(std::move(dataset), settings_.data().classes());
    if (!kept.ok() || split == Split::kHeldOut) return kept;
    SubsetOptions subset;
    subset.fraction = settings_.data().train_fraction();
    subset.per_class = settings_.shots();
    subset.seed = static_cast<uint64_t>(settings_.subset_seed());
    return SubsetOf(*std::move(kept), subset);
  };
  TEC_ASSIGN_OR_RETURN(held_out_, open(Split::kHeldOut, "held-out"));
  absl::StatusOr<std::shared_ptr<const Dataset>> train = open(Split::kTrain, "training");
  // An evaluation needs the training folder for the numbers of its classes only; without one, those of the held-out
  // classes count, as in the reference.
  if (train.ok()) {
    train_ = *std::move(train);
  } else if (settings_.eval()) {
    train_ = held_out_;
  } else {
    return train.status();
  }
  absl::StatusOr<std::vector<int64_t>> map = MapClasses(train_->classes(), held_out_->classes());
  TEC_RETURN_IF_ERROR(Annotate(map.status(), path));
  class_of_held_out_ = *std::move(map);

  const int64_t classes = static_cast<int64_t>(train_->classes().size());
  if (settings_.nb_classes() == 0) {
    settings_.set_nb_classes(std::max<int64_t>(classes, 2));
    progress_->Print(absl::StrCat("--nb_classes is not given: ", classes, ", as ", path, " has"));
  }
  if (settings_.nb_classes() < classes) {
    return absl::InvalidArgumentError(absl::StrCat("--nb_classes=", settings_.nb_classes(), ", but ", path, " has ",
                                                   classes, " classes; it must be at least that"));
  }
  settings_.clear_class_names();
  for (const std::string& name : train_->classes()) settings_.add_class_names(name);
  return absl::OkStatus();
}

absl::Status FinetuneRun::FindCheckpoint() {
  const auto find = [this](const std::string& wanted, const RunSaver* saver) -> absl::Status {
    TEC_ASSIGN_OR_RETURN(resume_,
                         FindRunState(wanted, saver, kMethod, "to start from its encoder give it as --finetune"));
    return absl::OkStatus();
  };
  // The first rank chooses the file, so that all read the same one.
  const std::string& wanted = settings_.checkpointing().resume();
  TEC_RETURN_IF_ERROR(group_->Agree(first_rank() ? find(wanted, saver_ ? &*saver_ : nullptr) : absl::OkStatus()));
  TEC_ASSIGN_OR_RETURN(const std::string path, group_->BroadcastText(resume_ ? resume_->path : ""));
  return group_->Agree(first_rank() || path.empty() ? absl::OkStatus() : find(path, nullptr));
}

// The encoder of `path`; of --finetune's file as the flags of what it does not tell say.
absl::StatusOr<Pretrained> FinetuneRun::ReadStart(const std::string& path) const {
  VitRequest request;
  if (path != settings_.finetune()) return ReadPretrained(path, request);
  request.family = settings_.family();
  request.entry = settings_.entry();
  request.heads = settings_.encoder().heads();
  TEC_RETURN_IF_ERROR(ParseGrid(settings_.grid(), &request));
  return ReadPretrained(path, request);
}

// Fills in the shape of --model=from_checkpoint, and start_ where that is what the run starts from.
absl::Status FinetuneRun::TakeShape() {
  if (settings_.model() != kFromCheckpoint) return absl::OkStatus();
  const std::string path = resume_ ? resume_->path : settings_.finetune();
  if (path.empty()) {
    return absl::InvalidArgumentError("--model=from_checkpoint needs a checkpoint: give --finetune or --resume");
  }
  config::Vit* vit = settings_.mutable_encoder();
  TEC_ASSIGN_OR_RETURN(Pretrained pretrained, ReadStart(path));
  TEC_RETURN_IF_ERROR(CheckChannels(pretrained, path, settings_.data().channels()));
  vit->set_patch_size(pretrained.encoder.patch_size);
  vit->set_width(pretrained.encoder.width);
  vit->set_depth(pretrained.encoder.depth);
  vit->set_heads(pretrained.encoder.heads);
  if (!vit->has_image_size()) vit->set_image_size(pretrained.encoder.image_size);
  if (!settings_.has_mlp_token()) settings_.set_mlp_token(pretrained.mlp_token);
  settings_.set_model("custom");
  progress_->Print(absl::StrCat("model as in ", path, ": ", pretrained.description));
  if (!pretrained.mean.empty() &&
      (pretrained.mean != Floats(settings_.data().mean()) || pretrained.std != Floats(settings_.data().std()))) {
    TEC_LOG(WARNING) << path << " was made with images normalised by another mean or deviation than data.mean and "
                     << "data.std of this run";
  }
  if (!resume_) start_ = std::move(pretrained);
  return absl::OkStatus();
}

absl::Status FinetuneRun::MakeModel() {
  FinetuneOptions options;
  options.encoder = VitOptionsFrom(settings_.encoder(), settings_.data());
  settings_.clear_norm_epsilon();
  if (!resume_ && !settings_.eval() && !settings_.finetune().empty()) {
    if (!start_) {
      TEC_ASSIGN_OR_RETURN(start_, ReadStart(settings_.finetune()));
    }
    TEC_RETURN_IF_ERROR(CheckFinetunable(*start_, settings_.finetune()));
    TEC_RETURN_IF_ERROR(CheckChannels(*start_, settings_.finetune(), settings_.data().channels()));
    const double epsilon = start_->encoder.variant.norm_epsilon;
    if (epsilon != kNormEpsilon) settings_.set_norm_epsilon(epsilon);
  } else if (resume_) {
    TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(resume_->state, resume_->path));
    if (record && record->norm_epsilon > 0) settings_.set_norm_epsilon(record->norm_epsilon);
  }
  if (settings_.has_norm_epsilon()) options.encoder.variant.norm_epsilon = settings_.norm_epsilon();
  options.classes = settings_.nb_classes();
  options.global_pool = settings_.global_pool();
  options.mlp_token = settings_.mlp_token();
  options.drop_path = settings_.drop_path();
  TEC_RETURN_IF_ERROR(Validate(options));
  model_ = std::make_shared<FinetuneModel>(options);
  const uint64_t seed = static_cast<uint64_t>(settings_.seed());
  InitialiseFinetuning(*model_, seed);
  if (start_) {
    TEC_RETURN_IF_ERROR(Annotate(LoadPretrained(*model_, start_->state, seed),
                                 absl::StrCat("cannot start from --finetune=", settings_.finetune())));
    start_.reset();  // Its memory.
  }
  model_->to(device_);
  if (settings_.model_ema()) {
    average_ = std::make_shared<FinetuneModel>(options);
    average_->to(device_);
    averaging_.emplace(*model_, *average_, settings_.model_ema_decay());
  }

  const config::Optimizer& optimizer = settings_.optimizer();
  optimizer_ = std::make_unique<AdamW>(FinetuningGroups(NamedTrainable(*model_), options.encoder.depth,
                                                        optimizer.weight_decay(), settings_.layer_decay()),
                                       AdamWOptions{optimizer.beta1(), optimizer.beta2(), optimizer.epsilon()});
  accum_iter_ = optimizer.accum_iter();
  FinetuneStepOptions step;
  step.accum_iter = accum_iter_;
  step.smoothing = settings_.augmentation().smoothing();
  step.clip_grad = optimizer.clip_grad();
  step.precision = ComputeType(settings_.runtime().precision());
  step_ = std::make_unique<FinetuneStep>(*model_, *optimizer_, step);
  schedule_.lr = LearningRate(optimizer, group_->world_size());
  schedule_.min_lr = settings_.schedule().min_lr();
  schedule_.warmup_epochs = settings_.schedule().warmup_epochs();
  schedule_.epochs = static_cast<double>(settings_.schedule().epochs());
  return absl::OkStatus();
}

absl::Status FinetuneRun::MakeLoader() {
  const config::Data& data = settings_.data();
  TEC_ASSIGN_OR_RETURN(augmentation_, AugmentationOf(settings_));
  LoaderOptions options;
  options.batch_size = settings_.optimizer().batch_size();
  options.world_size = group_->world_size();
  options.rank = group_->rank();
  options.seed = static_cast<uint64_t>(settings_.seed());
  options.threads = static_cast<int>(std::max<int64_t>(1, data.num_workers()));
  options.max_bad_fraction = data.max_bad_fraction();
  options.order = data.sampler() == "reference" ? SampleOrder::kReference : SampleOrder::kOwn;
  options.bad_images_path = absl::StrCat(settings_.logging().output_dir(), "/bad_images.txt");
  options.allocate = BatchMemory(device_, data.pin_mem());
  absl::StatusOr<std::unique_ptr<Loader>> loader = Loader::Create(train_, augmentation_.transform, options);
  TEC_RETURN_IF_ERROR(Annotate(loader.status(), data.path()));
  loader_ = *std::move(loader);
  bad_images_.emplace(*loader_, *group_);
  steps_per_epoch_ = loader_->batches_per_epoch();
  // The reference drops the micro-batches that do not make up an update: their gradient is thrown away.
  updates_per_epoch_ = steps_per_epoch_ / accum_iter_;
  if (updates_per_epoch_ == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %d images make %d micro-steps of %d images an epoch, fewer than --accum_iter=%d: not one update. Use a "
        "smaller --batch_size or --accum_iter",
        data.path(), train_->size(), steps_per_epoch_, images_per_micro_step(), accum_iter_));
  }
  return absl::OkStatus();
}

absl::Status FinetuneRun::ResumeFrom(const TrainingState& state) {
  const std::string& path = resume_->path;
  const auto counter = [&state](const char* name, int64_t otherwise) {
    const auto found = state.counters.find(name);
    return found == state.counters.end() ? otherwise : found->second;
  };
  const auto number = [&state](const char* name, double otherwise) {
    const auto found = state.numbers.find(name);
    return found == state.numbers.end() ? otherwise : found->second;
  };
  std::vector<std::string> changes;
  if (!state.experiment.empty()) {
    TEC_ASSIGN_OR_RETURN(const config::Finetune recorded,
                         ParseFinetune(state.experiment, absl::StrCat(path, " (its experiment)")));
    const SettingsChanges difference = CompareSettings(recorded, settings_);
    if (!difference.refused.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " is a checkpoint of another model: ", absl::StrJoin(difference.refused, "; "),
                       ". Choose another --output_dir or --resume, or the same model"));
    }
    changes = difference.applied;
  } else {
    // Of the reference's own script.
    changes = CompareArguments(state.args, ReferenceArguments(settings_));
    const AdamWOptions& adamw = optimizer_->options();
    for (std::string& change : CompareAdamW(state.optimizer, adamw.beta1, adamw.beta2, adamw.epsilon)) {
      changes.push_back(std::move(change));
    }
  }
  EpochPlan before, now;
  now.images_per_micro_step = images_per_micro_step();
  now.dataset_size = train_->size();
  now.accum_iter = accum_iter_;
  now.steps_per_epoch = steps_per_epoch_;
  now.seed = settings_.seed();
  before = now;
  before.images_per_micro_step = counter(kImagesPerMicroStep, now.images_per_micro_step);
  before.dataset_size = counter(kDatasetSize, now.dataset_size);
  if (const auto seed = state.args.is_dict() ? state.args.GetInt("seed") : settings_.seed(); seed.ok()) {
    before.seed = *seed;
  }
  // All micro-steps are done, only the evaluation is not: nothing of the epoch is left to be chosen again.
  const bool trained = state.next_micro_step > 0 && before.images_per_micro_step == now.images_per_micro_step &&
                       before.dataset_size == now.dataset_size && state.next_micro_step == steps_per_epoch_;
  if (trained) {
    next_micro_step_ = steps_per_epoch_;
  } else {
    absl::StatusOr<int64_t> position = ContinueEpoch(state.next_micro_step, before, now);
    TEC_RETURN_IF_ERROR(Annotate(position.status(), path));
    next_micro_step_ = *position;
  }
  TEC_RETURN_IF_ERROR(Annotate(LoadState(*model_, state.model),
                               absl::StrCat(path,
                                            " is a checkpoint of another model; choose another --output_dir or "
                                            "--resume, or the same model")));
  if (averaging_ && state.model_ema.empty()) {
    averaging_->Reset();
    changes.push_back(absl::StrCat("model_ema: begins with the weights of ", path, ", which has none"));
  } else if (averaging_) {
    TEC_RETURN_IF_ERROR(
        Annotate(LoadState(*average_, state.model_ema), absl::StrCat(path, ": model_ema is of another model")));
  }
  TEC_RETURN_IF_ERROR(
      Annotate(LoadOptimizerState(*optimizer_, state.optimizer), absl::StrCat(path, " has another optimizer")));
  if (step_->scaler() != nullptr && state.scaler) *step_->scaler() = LossScaler(LossScalerStateOf(*state.scaler));
  epoch_ = state.epoch + 1;
  updates_ = counter(kUpdates, epoch_ * updates_per_epoch_);
  max_accuracy_ = number(kMaxAccuracy, -1);
  max_ema_accuracy_ = number(kMaxEmaAccuracy, -1);
  if (next_micro_step_ > 0) {
    loss_meter_.Restore(number(kLossTotal, 0), counter(kMeterCount, 0));
    lr_meter_.Restore(number(kLrTotal, 0), counter(kMeterCount, 0));
  }
  // What the next save writes as the optimiser's rate if nothing is trained before it.
  for (const OptimizerGroup& group : state.optimizer.groups) {
    if (group.lr_scale.value_or(1) == 1) lr_ = group.lr;
  }
  saver_->set_newest(path);
  progress_->Print(absl::StrFormat("resumed from %s: epoch %d, micro-step %d of %d, %d updates done", path, epoch_,
                                   next_micro_step_, steps_per_epoch_, updates_));
  if (before.dataset_size != now.dataset_size) {
    changes.push_back(absl::StrCat("training images: ", now.dataset_size, ", was ", before.dataset_size));
  }
  if (!first_rank()) return absl::OkStatus();
  for (const std::string& change : changes) {
    TEC_LOG(WARNING) << "changed since the checkpoint, and applied from here on: " << change;
  }
  return absl::OkStatus();
}

absl::Status FinetuneRun::OpenLogs() {
  if (!first_rank()) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(WriteFile(OutputPath("experiment.textproto"), ToText(settings_)));
  if (resume_) {
    TEC_RETURN_IF_ERROR(TrimLog(OutputPath("log.txt"), "epoch", epoch_));
    TEC_RETURN_IF_ERROR(TrimLog(OutputPath("metrics.jsonl"), "update", updates_ + 1));
  }
  const std::string& log_dir = settings_.logging().log_dir();
  const double start = static_cast<double>(next_micro_step_) / static_cast<double>(steps_per_epoch_) + epoch_;
  TEC_ASSIGN_OR_RETURN(events_, EventWriter::Create(log_dir.empty() ? settings_.logging().output_dir() : log_dir,
                                                    static_cast<int64_t>(start * 1000)));
  return absl::OkStatus();
}

void FinetuneRun::Announce() {
  progress_->Print(
      absl::StrFormat("finetuning: %s, %d classes%s", settings_.model(), settings_.nb_classes(),
                      settings_.finetune().empty() ? ", from scratch" : absl::StrCat(", from ", settings_.finetune())));
  progress_->Print(
      absl::StrFormat("%s: %d training and %d held-out images; %d ranks x %d images x %d micro-steps an update, %d "
                      "updates an epoch",
                      settings_.data().path(), train_->size(), held_out_->size(), group_->world_size(),
                      settings_.optimizer().batch_size(), accum_iter_, updates_per_epoch_));
  progress_->Print(absl::StrFormat("lr %.3g, %s on %s, results in %s", schedule_.lr,
                                   config::Precision_Name(settings_.runtime().precision()), device_.str(),
                                   settings_.logging().output_dir()));
  if (average_) {
    const double updates = static_cast<double>(settings_.schedule().epochs() * updates_per_epoch_);
    progress_->Print(absl::StrFormat("model_ema: decay %g; after all epochs %.2g %% of it are the starting weights",
                                     settings_.model_ema_decay(),
                                     100 * std::pow(settings_.model_ema_decay(), updates)));
  }
}

absl::StatusOr<RunFinetuneResult> FinetuneRun::Run() {
  result_.top1 = result_.top5 = result_.loss = std::numeric_limits<double>::quiet_NaN();
  TEC_ASSIGN_OR_RETURN(device_, SelectRankDevice(settings_.runtime().device(), options_.environment));
  if (device_.is_cuda()) device_guard_.emplace(device_);
  SetComputeThreads(settings_.runtime().threads(), options_.environment);
  ProcessGroupOptions group;
  group.cuda = device_.is_cuda();
  TEC_ASSIGN_OR_RETURN(group_, ProcessGroup::Create(options_.environment, group));
  Progress::Options progress;
  progress.print_freq = settings_.logging().print_freq();
  progress.quiet = options_.quiet || !first_rank();
  progress_ = std::make_unique<Progress>(progress);

  // The ranks are bound together: each learns of an error of the others.
  TEC_RETURN_IF_ERROR(group_->Agree([&]() -> absl::Status {
    TEC_RETURN_IF_ERROR(OpenData());
    // An evaluation of a named file leaves its results behind and touches no checkpoint.
    if (settings_.eval() && !settings_.checkpointing().resume().empty()) {
      TEC_RETURN_IF_ERROR(MakeDirectories(settings_.logging().output_dir()));
    } else {
      TEC_ASSIGN_OR_RETURN(saver_, RunSaver::Open(settings_.logging().output_dir()));
    }
    return absl::OkStatus();
  }()));
  if (settings_.eval()) return EvaluateOnly();
  TEC_RETURN_IF_ERROR(FindCheckpoint());
  TEC_RETURN_IF_ERROR(group_->Agree([&]() -> absl::Status {
    TEC_RETURN_IF_ERROR(TakeShape());
    TEC_RETURN_IF_ERROR(MakeModel());
    TEC_RETURN_IF_ERROR(MakeLoader());
    epoch_ = settings_.schedule().start_epoch();
    updates_ = epoch_ * updates_per_epoch_;
    if (resume_) {
      TEC_RETURN_IF_ERROR(ResumeFrom(resume_->state));
      resume_->state = TrainingState();  // Its memory.
    }
    return OpenLogs();
  }()));
  Announce();
  KeepFreedMemory();
  TEC_RETURN_IF_ERROR(AsFailure(Train()));
  return result_;
}

absl::StatusOr<RunFinetuneResult> FinetuneRun::EvaluateOnly() {
  TEC_RETURN_IF_ERROR(FindCheckpoint());
  if (!resume_) {
    return absl::InvalidArgumentError(absl::StrCat("--eval needs a finetuned model: give --resume=CHECKPOINT (",
                                                   settings_.logging().output_dir(), " holds none)"));
  }
  TEC_RETURN_IF_ERROR(group_->Agree([&]() -> absl::Status {
    TEC_RETURN_IF_ERROR(TakeShape());
    TEC_RETURN_IF_ERROR(MakeModel());
    const std::string other = absl::StrCat(resume_->path, " is a checkpoint of another model");
    TEC_RETURN_IF_ERROR(Annotate(LoadState(*model_, resume_->state.model), other));
    if (!average_) return absl::OkStatus();
    if (resume_->state.model_ema.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--model_ema: ", resume_->path, " has no model_ema; it was trained without"));
    }
    return Annotate(LoadState(*average_, resume_->state.model_ema), other);
  }()));
  progress_->Print(absl::StrCat("evaluating ", resume_->path, " on ", held_out_->size(), " images"));
  const int64_t epoch = resume_->state.epoch;
  resume_->state = TrainingState();
  const auto evaluate = [&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluate(*model_));
    std::optional<Evaluation> ema;
    if (average_) {
      TEC_ASSIGN_OR_RETURN(ema, Evaluate(*average_));
    }
    PrintReport(evaluation, ema);
    TEC_RETURN_IF_ERROR(
        group_->Agree(first_rank() ? WriteResults(resume_->path, epoch, evaluation, ema) : absl::OkStatus()));
    progress_->Print(absl::StrCat("written to ", OutputPath(kResults)));
    return absl::OkStatus();
  };
  TEC_RETURN_IF_ERROR(AsFailure(evaluate()));
  return result_;
}

absl::Status FinetuneRun::Train() {
  start_time_ = Now();
  const int64_t epochs = settings_.schedule().epochs();
  if (epoch_ >= epochs) progress_->Print("nothing is left to train: all epochs are done");
  while (epoch_ < epochs && !stop_) {
    TEC_RETURN_IF_ERROR(TrainEpoch());
    // Also before the evaluation, which may take long: a run that ends in it goes on with it.
    if (epoch_steps_done_ > 0) TEC_RETURN_IF_ERROR(SaveThis());
    if (next_micro_step_ < steps_per_epoch_ || stop_) break;
    const absl::Status finished = FinishEpoch();
    if (absl::IsCancelled(finished)) break;
    TEC_RETURN_IF_ERROR(finished);
  }
  TEC_RETURN_IF_ERROR(group_->Agree(first_rank() ? saver_->Wait() : absl::OkStatus()));
  result_.stopped = epoch_ < epochs;
  result_.epochs = epoch_;
  result_.updates = updates_;
  result_.max_accuracy = max_accuracy_;
  result_.checkpoint = saver_->newest();
  if (result_.stopped) {
    progress_->Print(absl::StrCat("stopped; saved ", saver_->newest(), "; the same command goes on from there"));
  }
  return absl::OkStatus();
}

absl::Status FinetuneRun::TrainEpoch() {
  const std::vector<float> mean = Floats(settings_.data().mean()), std = Floats(settings_.data().std());
  loader_->StartEpoch(epoch_, next_micro_step_);
  epoch_time_ = update_time_ = Now();
  epoch_wait_ = update_wait_ = loader_->wait_seconds();
  epoch_steps_done_ = update_steps_ = 0;
  while (next_micro_step_ < steps_per_epoch_) {
    const double step_start = Now(), wait_before = loader_->wait_seconds();
    const int64_t micro_step = next_micro_step_;
    const bool in_update = micro_step / accum_iter_ < updates_per_epoch_;
    TEC_ASSIGN_OR_RETURN(const Batch* batch, loader_->Next());
    TEC_CHECK(batch != nullptr) << "the epoch ended after " << micro_step << " of " << steps_per_epoch_;
    if (micro_step % accum_iter_ == 0) {
      lr_ = LearningRate(schedule_, static_cast<double>(micro_step) / static_cast<double>(steps_per_epoch_) +
                                        static_cast<double>(epoch_));
    }
    at::Tensor images = BatchImages(*batch, device_, mean, std);
    at::Tensor targets = at::tensor(batch->labels, at::kLong).to(device_);
    Augment(*batch, &images, &targets);
    at::Tensor uniforms;
    if (settings_.drop_path() > 0) {
      uniforms = DropPathUniforms(static_cast<uint64_t>(settings_.seed()), static_cast<uint64_t>(epoch_),
                                  batch->indices, settings_.encoder().depth())
                     .to(device_);
    }
    at::Tensor loss;
    if (in_update) {
      loss = step_->Accumulate(images, targets, uniforms);
    } else {
      // The reference computes a gradient here and throws it away; its loss does count in the epoch's mean.
      at::NoGradGuard no_gradient;
      loss = step_->Loss(images, targets, uniforms);
    }
    update_losses_.push_back(loss.item<double>());
    ++next_micro_step_;
    ++steps_done_;
    ++epoch_steps_done_;
    ++update_steps_;
    if (in_update && next_micro_step_ % accum_iter_ == 0) TEC_RETURN_IF_ERROR(FinishUpdate());
    step_seconds_.Add(Now() - step_start);
    step_wait_.Add(loader_->wait_seconds() - wait_before);
    ShowProgress();
    if (stop_ && update_losses_.empty() && next_micro_step_ < steps_per_epoch_) return absl::OkStatus();
  }
  // Left-over micro-steps.
  return update_losses_.empty() ? absl::OkStatus() : CollectLosses().status();
}

absl::StatusOr<double> FinetuneRun::CollectLosses() {
  // One operation among the ranks carries all that they have to agree on.
  std::vector<double> values = std::move(update_losses_);
  update_losses_.clear();
  values.push_back(bad_images_->news() ? 1 : 0);
  values.push_back(stop_signal_.received() != 0 ? 1 : 0);
  absl::StatusOr<std::vector<double>> means = group_->Mean(values);
  TEC_RETURN_IF_ERROR(Annotate(means.status(), "agreeing on the losses"));
  stop_ = stop_ || means->back() > 0;
  means->pop_back();
  if (means->back() > 0) TEC_RETURN_IF_ERROR(bad_images_->Share());
  means->pop_back();
  double mean = 0;
  for (const double loss : *means) {
    if (!std::isfinite(loss)) return NonFinite(absl::StrFormat("the loss is %g", loss));
    loss_meter_.Add(loss);
    lr_meter_.Add(lr_);
    mean += loss / static_cast<double>(means->size());
  }
  return mean;
}

void FinetuneRun::Augment(const Batch& batch, at::Tensor* images, at::Tensor* targets) const {
  const auto seed = static_cast<uint64_t>(settings_.seed()), epoch = static_cast<uint64_t>(epoch_);
  if (augmentation_.erasing.probability > 0) {
    std::vector<std::vector<ErasedBox>> boxes(batch.count);
    // Each image has a stream of its own: the number of threads changes nothing.
    at::parallel_for(0, batch.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        RandomStream stream(RandomKey{seed, RandomPurpose::kErase, epoch, static_cast<uint64_t>(batch.indices[n])});
        boxes[n] = DrawErasing(augmentation_.erasing, batch.size, batch.size, stream);
      }
    });
    EraseBoxes(boxes, *images);
  }
  if (augmentation_.mixing.any()) {
    const auto batch_of_all_ranks = static_cast<uint64_t>(batch.number * group_->world_size() + group_->rank());
    RandomStream stream(RandomKey{seed, RandomPurpose::kMix, epoch, batch_of_all_ranks});
    const std::vector<Mix> mixes = DrawMixes(augmentation_.mixing, batch.count, batch.size, batch.size, stream);
    *images = MixImages(*images, mixes);
    *targets = MixTargets(*targets, settings_.nb_classes(), settings_.augmentation().smoothing(), mixes);
  }
}

absl::Status FinetuneRun::NonFinite(const std::string& what) {
  return absl::AbortedError(absl::StrFormat(
      "update %d: %s at epoch %d, micro-step %d of %d; lr %g. Stopped without saving; the newest checkpoint, from "
      "before, is %s. A lower --blr, --precision=float32 or --clip_grad may help",
      updates_ + 1, what, epoch_, next_micro_step_ - 1, steps_per_epoch_, lr_, saver_->WaitForNewest()));
}

absl::Status FinetuneRun::FinishUpdate() {
  TEC_RETURN_IF_ERROR(group_->AverageGradients(optimizer_->parameters()));
  TEC_ASSIGN_OR_RETURN(const double loss, CollectLosses());
  const FinetuneStep::Update update = step_->Finish(lr_);
  if (update.skipped && step_->scaler() == nullptr) {
    return NonFinite(absl::StrFormat("the gradient's norm is %g", update.grad_norm));
  }
  if (averaging_ && !update.skipped) averaging_->Update();
  ++updates_;
  if (options_.stop_after_update && options_.stop_after_update(updates_)) stop_ = true;
  TEC_RETURN_IF_ERROR(LogUpdate(update, loss));
  const double minutes = settings_.checkpointing().save_every_minutes();
  if (first_rank() && minutes > 0 && saver_->MinutesSinceSave() >= minutes && next_micro_step_ < steps_per_epoch_) {
    return saver_->Save(State());
  }
  return absl::OkStatus();
}

absl::Status FinetuneRun::LogUpdate(const FinetuneStep::Update& update, double loss) {
  const double now = Now(), wait = loader_->wait_seconds();
  const double seconds = now - update_time_, waited = wait - update_wait_;
  const int64_t images = update_steps_ * images_per_micro_step();
  update_time_ = now;
  update_wait_ = wait;
  update_steps_ = 0;
  if (!first_rank()) return absl::OkStatus();
  JsonFields fields = {{"update", updates_}, {"epoch", epoch_}, {"micro_step", next_micro_step_ - 1},
                       {"lr", lr_},          {"loss", loss},    {"grad_norm", update.grad_norm}};
  if (const LossScaler* scaler = step_->scaler()) {
    fields.emplace_back("loss_scale", scaler->state().scale);
    fields.emplace_back("skipped", int64_t{update.skipped});
  }
  fields.emplace_back("images_per_second", static_cast<double>(images) / std::max(seconds, 1e-9));
  fields.emplace_back("data_wait_seconds", waited);
  TEC_RETURN_IF_ERROR(AppendLine(OutputPath("metrics.jsonl"), ToJson(fields)));
  // The reference's x axis, thousandths of an epoch, and its names.
  const double where =
      static_cast<double>(next_micro_step_ - 1) / static_cast<double>(steps_per_epoch_) + static_cast<double>(epoch_);
  std::vector<std::pair<std::string, double>> scalars = {{"loss", loss}, {"lr", lr_}};
  if (!update.skipped) scalars.emplace_back("grad_norm", update.grad_norm);
  return events_->AddScalars(static_cast<int64_t>(where * 1000), scalars);
}

absl::StatusOr<Evaluation> FinetuneRun::Evaluate(FinetuneModel& model) {
  EvaluateOptions options;
  options.batch_size = settings_.optimizer().batch_size();
  options.threads = static_cast<int>(std::max<int64_t>(1, settings_.data().num_workers()));
  options.pin_mem = settings_.data().pin_mem();
  options.mean = Floats(settings_.data().mean());
  options.std = Floats(settings_.data().std());
  options.precision = step_->options().precision;
  options.max_bad_fraction = settings_.data().max_bad_fraction();
  options.stop = [this] { return stop_signal_.received() != 0; };
  // Without --dist_eval every rank evaluates all images, as in the reference.
  if (settings_.dist_eval() || first_rank()) options.bad_images_path = OutputPath("bad_images_val.txt");
  if (settings_.dist_eval()) {
    options.world_size = group_->world_size();
    options.rank = group_->rank();
  }
  absl::StatusOr<ClassifierCounts> counts = absl::UnknownError("not run");
  {
    CountProgress count("evaluation", stdout);
    if (!options_.quiet && first_rank()) {
      options.progress = [&](int64_t done, int64_t total) { count.Update(done, total); };
    }
    counts = EvaluateClassifier(model, held_out_, class_of_held_out_, options);
  }
  TEC_ASSIGN_OR_RETURN(const bool stopped, group_->Any(absl::IsCancelled(counts.status())));
  if (stopped) {
    stop_ = true;
    return absl::CancelledError("stopped on request");
  }
  TEC_RETURN_IF_ERROR(group_->Agree(counts.status()));
  if (settings_.dist_eval()) {
    std::vector<double> values = counts->counter.Sums();
    values.push_back(static_cast<double>(counts->unreadable));
    at::Tensor sums = at::tensor(values, at::kDouble).to(device_);
    TEC_RETURN_IF_ERROR(Annotate(group_->AllReduceSum(sums), "adding up the evaluation"));
    sums = sums.cpu();
    const size_t last = values.size() - 1;
    const double* all = sums.const_data_ptr<double>();
    *counts = {ReportCounter(settings_.nb_classes(), absl::Span<const double>(all, last)),
               static_cast<int64_t>(all[last])};
  }
  Evaluation evaluation = {counts->counter.Report(), counts->unreadable};
  const ClassificationReport& accuracy = evaluation.report;
  progress_->Print(absl::StrCat(&model == average_.get() ? "model_ema: " : "", FormatAccuracy(accuracy)));
  if (evaluation.unreadable > 0) {
    progress_->Print(absl::StrCat(evaluation.unreadable, " held-out images could not be read and were not counted"));
  }
  if (&model == model_.get()) {
    result_.top1 = accuracy.top1;
    result_.top5 = accuracy.top5;
    result_.loss = accuracy.loss;
  }
  return evaluation;
}

std::vector<std::string> FinetuneRun::ClassNames() const {
  std::vector<std::string> names = train_->classes();
  while (static_cast<int64_t>(names.size()) < settings_.nb_classes()) names.push_back(absl::StrCat("#", names.size()));
  return names;
}

void FinetuneRun::PrintReport(const Evaluation& evaluation, const std::optional<Evaluation>& ema) {
  progress_->Print(absl::StrCat("\n", FormatReport(evaluation.report, ClassNames())));
  if (ema) progress_->Print(absl::StrCat("model_ema: ", FormatReport(ema->report, ClassNames())));
}

absl::Status FinetuneRun::WriteResults(const std::string& checkpoint, int64_t epoch, const Evaluation& evaluation,
                                       const std::optional<Evaluation>& ema) {
  nlohmann::ordered_json json = {{"checkpoint", checkpoint},
                                 {"epoch", epoch},
                                 {"data_path", settings_.data().path()},
                                 {"test_images", evaluation.report.images},
                                 {"unreadable_test_images", evaluation.unreadable},
                                 {"settings", absl::StrSplit(ToText(settings_), '\n')}};
  if (!settings_.eval()) {
    json["train_images"] = train_->size();
    json["max_accuracy"] = max_accuracy_;
  }
  const std::vector<std::string> classes = ClassNames();
  json["accuracy"] = ToJson(evaluation.report, classes);
  if (ema) json["model_ema"]["accuracy"] = ToJson(ema->report, classes);
  return WriteFile(OutputPath(kResults), FormatJson(json));
}

absl::Status FinetuneRun::FinishEpoch() {
  const double seconds = Now() - epoch_time_, waited = loader_->wait_seconds() - epoch_wait_;
  TEC_ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluate(*model_));
  const ClassificationReport& accuracy = evaluation.report;
  std::optional<Evaluation> ema;
  if (average_) {
    TEC_ASSIGN_OR_RETURN(ema, Evaluate(*average_));
    max_ema_accuracy_ = std::max(max_ema_accuracy_, ema->report.top1);
  }
  const bool best = accuracy.top1 > max_accuracy_;
  max_accuracy_ = std::max(max_accuracy_, accuracy.top1);
  progress_->Print(absl::StrFormat("Max accuracy: %.2f%%", max_accuracy_));
  if (ema) progress_->Print(absl::StrFormat("Max accuracy of model_ema: %.2f%%", max_ema_accuracy_));

  if (epoch_ + 1 == settings_.schedule().epochs()) PrintReport(evaluation, ema);

  if (first_rank()) {
    TEC_RETURN_IF_ERROR(LogEpoch(accuracy, ema, seconds, waited));
    TEC_RETURN_IF_ERROR(WriteResults(saver_->folder().PathOf(CheckpointFolder::kThis), epoch_, evaluation, ema));
  }
  const int64_t finished = epoch_, epochs = settings_.schedule().epochs();
  const int64_t period = settings_.checkpointing().save_period();
  ++epoch_;
  next_micro_step_ = 0;
  loss_meter_ = Meter();
  lr_meter_ = Meter();
  absl::Status status;
  if (first_rank()) {
    std::vector<std::string> names;
    if (best) names.push_back(kBest);
    if (epoch_ == epochs || (period > 0 && finished % period == 0)) {
      names.push_back(CheckpointFolder::NumberedName(finished));
    }
    status = saver_->Save(State(), std::move(names));
  }
  return group_->Agree(status);
}

absl::Status FinetuneRun::LogEpoch(const ClassificationReport& accuracy, const std::optional<Evaluation>& ema,
                                   double seconds, double waited) {
  int64_t parameters = 0;
  for (const at::Tensor& parameter : optimizer_->parameters()) parameters += parameter.numel();
  const double images = static_cast<double>(epoch_steps_done_ * images_per_micro_step());
  JsonFields fields = {{"train_lr", lr_meter_.Mean()},
                       {"train_loss", loss_meter_.Mean()},
                       {"test_loss", accuracy.loss},
                       {"test_acc1", accuracy.top1},
                       {"test_acc5", accuracy.top5},
                       {"epoch", epoch_},
                       {"n_parameters", parameters},
                       {"max_accuracy", max_accuracy_},
                       {"updates", updates_},
                       {"images_per_second", images / std::max(seconds, 1e-9)},
                       {"seconds", seconds},
                       {"data_wait_seconds", waited},
                       {"bad_images", loader_->bad_count()}};
  std::vector<std::pair<std::string, double>> scalars = {
      {"perf/test_acc1", accuracy.top1}, {"perf/test_acc5", accuracy.top5}, {"perf/test_loss", accuracy.loss}};
  if (ema) {
    for (const auto& [name, value] : {std::pair<const char*, double>{"test_ema_loss", ema->report.loss},
                                      {"test_ema_acc1", ema->report.top1},
                                      {"test_ema_acc5", ema->report.top5}}) {
      fields.emplace_back(name, value);
      scalars.emplace_back(absl::StrCat("perf/", name), value);
    }
    fields.emplace_back("max_ema_accuracy", max_ema_accuracy_);
  }
  // Before the checkpoint: a run that dies in between does the epoch again and TrimLog takes this line away.
  TEC_RETURN_IF_ERROR(AppendLine(OutputPath("log.txt"), ToJson(fields)));
  TEC_RETURN_IF_ERROR(events_->AddScalars(epoch_, scalars));
  return events_->Flush();
}

void FinetuneRun::ShowProgress() {
  if (!progress_->WouldShow(next_micro_step_, steps_per_epoch_)) return;
  ProgressState state;
  state.epoch = epoch_;
  state.epochs = settings_.schedule().epochs();
  state.step = next_micro_step_;
  state.steps_per_epoch = steps_per_epoch_;
  state.lr = lr_;
  state.losses.push_back({"loss", loss_meter_.Median(), loss_meter_.Mean()});
  state.step_seconds = step_seconds_.Median();
  state.data_wait_seconds = step_wait_.Median();
  const double elapsed = Now() - start_time_;
  state.images_per_second = static_cast<double>(steps_done_ * images_per_micro_step()) / std::max(elapsed, 1e-9);
  const int64_t left = (state.epochs - epoch_) * steps_per_epoch_ - next_micro_step_;
  state.eta_seconds = static_cast<double>(left) * elapsed / static_cast<double>(steps_done_);
  progress_->Update(state);
}

TrainingState FinetuneRun::State() const {
  TrainingState state;
  state.model = ViewsOf(NamedState(*model_));
  if (average_) state.model_ema = ViewsOf(NamedState(*average_));
  state.optimizer = OptimizerStateOf(*optimizer_, lr_, /*with_lr_scale=*/true);
  state.epoch = epoch_ - 1;
  state.next_micro_step = next_micro_step_;
  if (const LossScaler* scaler = step_->scaler()) state.scaler = ScalerStateOf(*scaler);
  state.args = ReferenceArguments(settings_);
  state.method = kMethod;
  config::Finetune record = WeightDeciding(settings_);
  *record.mutable_class_names() = settings_.class_names();
  state.experiment = ToText(record);
  state.counters[kUpdates] = updates_;
  state.counters[kDatasetSize] = train_->size();
  state.counters[kImagesPerMicroStep] = images_per_micro_step();
  state.numbers[kMaxAccuracy] = max_accuracy_;
  if (average_) state.numbers[kMaxEmaAccuracy] = max_ema_accuracy_;
  if (next_micro_step_ > 0) {
    state.counters[kMeterCount] = loss_meter_.count();
    state.numbers[kLossTotal] = loss_meter_.total();
    state.numbers[kLrTotal] = lr_meter_.total();
  }
  return state;
}

}  // namespace

absl::StatusOr<RunFinetuneResult> RunFinetune(const config::Finetune& resolved, const RunFinetuneOptions& options) {
  return CatchTorchOr<RunFinetuneResult>([&] { return FinetuneRun(resolved, options).Run(); });
}

}  // namespace tec
