#include "tec/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/tensor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "c10/core/DeviceGuard.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"
#include "tec/dist/process_group.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"
#include "tec/optim/parameter_groups.h"
#include "tec/optim/schedule.h"
#include "tec/run/event_writer.h"
#include "tec/run/json_log.h"
#include "tec/run/meter.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/progress.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/run_saver.h"
#include "tec/run/settings_record.h"
#include "tec/run/shared_bad_images.h"
#include "tec/run/stop_signal.h"
#include "tec/run/torch_runtime.h"
#include "tec/train/objective.h"

namespace tec {
namespace {

double Now() { return absl::GetCurrentTimeNanos() * 1e-9; }

// Names of what a checkpoint holds beside the reference's entries. Written into files: never rename.
constexpr char kUpdates[] = "updates";
constexpr char kDatasetSize[] = "dataset_size";
constexpr char kImagesPerMicroStep[] = "images_per_micro_step";
constexpr char kBaseModelChecksum[] = "base_model_checksum";
constexpr char kMeterCount[] = "epoch_micro_steps_logged";
constexpr char kMeterTotal[] = "epoch_sum_";  // + the loss's name or "lr".

// The reference's args, so that its scripts find what they look for. No paths: equal runs write equal files.
Value ReferenceArguments(const config::Experiment& e) {
  Value args = Value::Dict();
  args.Set("batch_size", Value::Int(e.optimizer().batch_size()));
  args.Set("epochs", Value::Int(e.schedule().epochs()));
  args.Set("accum_iter", Value::Int(e.optimizer().accum_iter()));
  args.Set("model", Value::String(e.model().name()));
  args.Set("input_size", Value::Int(e.model().encoder().image_size()));
  args.Set("mask_ratio", Value::Double(e.masking().mask_ratio()));
  args.Set("weight_decay", Value::Double(e.optimizer().weight_decay()));
  args.Set("lr", e.optimizer().lr() == 0 ? Value::None() : Value::Double(e.optimizer().lr()));
  args.Set("blr", Value::Double(e.optimizer().blr()));
  args.Set("min_lr", Value::Double(e.schedule().min_lr()));
  args.Set("warmup_epochs", Value::Double(e.schedule().warmup_epochs()));
  args.Set("seed", Value::Int(e.seed()));
  if (e.method() == config::TEC) {
    args.Set("pred_att", Value::Bool(e.model().pred_att()));
    args.Set("topkatt", Value::Int(e.base_model().topkatt()));
    args.Set("mlp_token", Value::Bool(e.model().mlp_token()));
    args.Set("basemodel", Value::String(e.base_model().name()));
    args.Set("last_layers", Value::Int(e.base_model().last_layers()));
    args.Set("att_tau", Value::Double(e.losses().att_tau()));
  } else {
    args.Set("norm_pix_loss", Value::Bool(e.losses().norm_pix_loss()));
  }
  return args;
}

class TrainRun {
 public:
  TrainRun(const config::Experiment& experiment, const TrainOptions& options)
      : experiment_(experiment), options_(options) {}

  absl::StatusOr<TrainResult> Run();

 private:
  // Before the first step.
  absl::Status Prepare();
  absl::Status OpenData();
  absl::Status ResumeFrom(const TrainingState& state, const std::string& path);
  absl::Status Resume();
  absl::Status OpenLogs();
  void Announce();

  // One epoch from next_micro_step_ on. Sets stop_ and returns early if the run is to stop within the epoch.
  absl::Status TrainEpoch();
  // After the last micro-step of an update.
  absl::Status FinishUpdate();
  // Brings the losses of the newest micro-steps here, as means over the ranks; adds them to the meters. Also agrees
  // on stop_. Aborted if one is not finite. row[m][i] is loss i of micro-step m.
  absl::StatusOr<std::vector<std::vector<double>>> CollectLosses();
  absl::Status NonFinite(const std::string& what);
  absl::Status LogUpdate(const std::vector<std::vector<double>>& rows, double grad_norm, bool skipped);
  absl::Status FinishEpoch();
  void ShowProgress();

  TrainingState State() const;

  bool first_rank() const { return group_->rank() == 0; }
  int64_t images_per_micro_step() const { return experiment_.optimizer().batch_size() * group_->world_size(); }
  std::string OutputPath(const char* name) const { return absl::StrCat(experiment_.logging().output_dir(), "/", name); }

  const config::Experiment& experiment_;
  const TrainOptions& options_;
  c10::Device device_ = c10::Device(c10::kCPU);
  std::optional<c10::OptionalDeviceGuard> device_guard_;
  std::unique_ptr<ProcessGroup> group_;
  std::unique_ptr<Loader> loader_;
  std::optional<SharedBadImages> bad_images_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<AdamW> optimizer_;
  std::optional<LossScaler> scaler_;     // With float16.
  std::optional<RunSaver> saver_;        // The first rank saves.
  std::unique_ptr<EventWriter> events_;  // First rank only.
  std::unique_ptr<Progress> progress_;
  StopSignal stop_signal_;

  ScheduleOptions schedule_;
  int64_t accum_iter_ = 1, steps_per_epoch_ = 0, updates_per_epoch_ = 0;

  // Where the run stands.
  int64_t epoch_ = 0, next_micro_step_ = 0, updates_ = 0;
  double lr_ = 0;  // Of the newest update.
  bool stop_ = false;
  std::vector<at::Tensor> pending_losses_;  // One a micro-step not collected yet.
  std::vector<double> pending_lr_;
  std::vector<Meter> loss_meters_;
  Meter lr_meter_;

  // Clocks; nothing of this is saved.
  double start_time_ = 0, last_flush_time_ = 0, update_time_ = 0, update_wait_ = 0;
  double epoch_time_ = 0, epoch_wait_ = 0;
  int64_t steps_done_ = 0, epoch_steps_done_ = 0, update_steps_ = 0;
  Meter step_seconds_, step_wait_;
  TrainResult result_;
};

absl::Status TrainRun::OpenData() {
  const config::Data& data = experiment_.data();
  DatasetOptions dataset_options;
  // Nothing here asks for labels, but --classes does.
  dataset_options.labels = !data.classes().empty();
  dataset_options.index_folder = experiment_.logging().output_dir();
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> dataset,
                       OpenDataset(data.path(), Split::kTrain, dataset_options));
  TEC_ASSIGN_OR_RETURN(dataset, KeepClasses(std::move(dataset), data.classes()));
  SubsetOptions subset;
  subset.fraction = data.train_fraction();
  subset.seed = static_cast<uint64_t>(experiment_.seed());
  dataset = SubsetOf(std::move(dataset), subset);
  TrainTransform::Options transform;
  transform.size = static_cast<int>(experiment_.model().encoder().image_size());
  transform.crop.scale_min = data.crop_scale_min();
  transform.crop.scale_max = data.crop_scale_max();
  transform.crop.ratio_min = data.crop_ratio_min();
  transform.crop.ratio_max = data.crop_ratio_max();
  transform.flip_probability = data.flip_probability();
  transform.channels = static_cast<int>(data.channels());
  LoaderOptions options;
  options.batch_size = experiment_.optimizer().batch_size();
  options.world_size = group_->world_size();
  options.rank = group_->rank();
  options.seed = static_cast<uint64_t>(experiment_.seed());
  options.threads = static_cast<int>(std::max<int64_t>(1, data.num_workers()));
  options.max_bad_fraction = data.max_bad_fraction();
  options.order = data.sampler() == "reference" ? SampleOrder::kReference : SampleOrder::kOwn;
  options.bad_images_path = absl::StrCat(experiment_.logging().output_dir(), "/bad_images.txt");
  options.allocate = BatchMemory(device_, data.pin_mem());
  absl::StatusOr<std::unique_ptr<Loader>> loader =
      Loader::Create(std::move(dataset), std::make_shared<TrainTransform>(transform), options);
  TEC_RETURN_IF_ERROR(Annotate(loader.status(), data.path()));
  loader_ = *std::move(loader);
  bad_images_.emplace(*loader_, *group_);

  accum_iter_ = experiment_.optimizer().accum_iter();
  steps_per_epoch_ = loader_->batches_per_epoch();
  // The reference drops the micro-batches that do not make up an update: their gradient is thrown away.
  updates_per_epoch_ = steps_per_epoch_ / accum_iter_;
  if (updates_per_epoch_ == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %d images make %d micro-steps of %d images an epoch, fewer than --accum_iter=%d: not one update. Use a "
        "smaller --batch_size or --accum_iter",
        data.path(), loader_->dataset().size(), steps_per_epoch_, images_per_micro_step(), accum_iter_));
  }
  return absl::OkStatus();
}

absl::Status TrainRun::Prepare() {
  TEC_ASSIGN_OR_RETURN(device_, SelectRankDevice(experiment_.runtime().device(), options_.environment));
  if (device_.is_cuda()) device_guard_.emplace(device_);
  SetComputeThreads(experiment_.runtime().threads(), options_.environment);

  ProcessGroupOptions group_options;
  group_options.cuda = device_.is_cuda();
  TEC_ASSIGN_OR_RETURN(group_, ProcessGroup::Create(options_.environment, group_options));

  // From here on the ranks are bound together: each learns of an error of the others.
  TEC_RETURN_IF_ERROR(group_->Agree([&]() -> absl::Status {
    TEC_RETURN_IF_ERROR(OpenData());
    TEC_ASSIGN_OR_RETURN(objective_, Objective::Create(experiment_, device_));
    const config::Optimizer& optimizer = experiment_.optimizer();
    optimizer_ =
        std::make_unique<AdamW>(PretrainingGroups(NamedTrainable(objective_->model()), optimizer.weight_decay()),
                                AdamWOptions{optimizer.beta1(), optimizer.beta2(), optimizer.epsilon()});
    if (experiment_.runtime().precision() == config::FLOAT16) scaler_.emplace();
    schedule_.lr = LearningRate(optimizer, group_->world_size());
    schedule_.min_lr = experiment_.schedule().min_lr();
    schedule_.warmup_epochs = experiment_.schedule().warmup_epochs();
    schedule_.epochs = static_cast<double>(experiment_.schedule().epochs());
    loss_meters_.assign(objective_->loss_names().size(), Meter());
    TEC_ASSIGN_OR_RETURN(saver_, RunSaver::Open(experiment_.logging().output_dir()));
    return absl::OkStatus();
  }()));
  Progress::Options progress;
  progress.print_freq = experiment_.logging().print_freq();
  progress.quiet = options_.quiet || !first_rank();
  progress_ = std::make_unique<Progress>(progress);
  return absl::OkStatus();
}

absl::Status TrainRun::ResumeFrom(const TrainingState& state, const std::string& path) {
  const std::string method = experiment_.method() == config::MAE ? "mae" : "tec";
  if (!state.method.empty() && state.method != method) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a checkpoint of method ", state.method,
                                                   ", this run is of method ", method,
                                                   ". Choose another --output_dir or --resume"));
  }
  std::vector<std::string> changes;
  if (!state.experiment.empty()) {
    TEC_ASSIGN_OR_RETURN(const config::Experiment before,
                         ParseExperiment(state.experiment, absl::StrCat(path, " (its experiment)")));
    const ExperimentChanges difference = CompareExperiments(before, experiment_);
    if (!difference.refused.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " is a checkpoint of another model: ", absl::StrJoin(difference.refused, "; "),
                       ". Choose another --output_dir or --resume, or the same model"));
    }
    changes = difference.applied;
  } else {
    changes = CompareArguments(state.args, ReferenceArguments(experiment_));
    const AdamWOptions& adamw = optimizer_->options();
    for (std::string& change : CompareAdamW(state.optimizer, adamw.beta1, adamw.beta2, adamw.epsilon)) {
      changes.push_back(std::move(change));
    }
  }

  const auto counter = [&state](const std::string& name, int64_t otherwise) {
    const auto found = state.counters.find(name);
    return found == state.counters.end() ? otherwise : found->second;
  };
  const int64_t dataset_size = loader_->dataset().size();
  EpochPosition before, now;
  now.images_per_micro_step = images_per_micro_step();
  now.dataset_size = dataset_size;
  now.accum_iter = accum_iter_;
  now.seed = experiment_.seed();
  before = now;
  before.next_micro_step = state.next_micro_step;
  before.images_per_micro_step = counter(kImagesPerMicroStep, now.images_per_micro_step);
  before.dataset_size = counter(kDatasetSize, dataset_size);
  if (const auto seed = state.args.is_dict() ? state.args.GetInt("seed") : experiment_.seed(); seed.ok()) {
    before.seed = *seed;
  }
  const absl::StatusOr<int64_t> position = ContinueEpoch(before, now);
  TEC_RETURN_IF_ERROR(Annotate(position.status(), path));
  if (before.dataset_size != dataset_size) {
    changes.push_back(absl::StrCat("images in the data set: ", dataset_size, ", was ", before.dataset_size));
  }
  const int64_t checksum = objective_->base_model_checksum();
  if (counter(kBaseModelChecksum, checksum) != checksum) changes.push_back("the base model's weights are others");
  if (before.images_per_micro_step != now.images_per_micro_step) {
    changes.push_back(absl::StrCat("images a micro-step over all ranks: ", now.images_per_micro_step, ", was ",
                                   before.images_per_micro_step));
  }

  TEC_RETURN_IF_ERROR(
      Annotate(LoadState(objective_->model(), state.model), absl::StrCat(path, " is a checkpoint of another model")));
  TEC_RETURN_IF_ERROR(Annotate(LoadOptimizerState(*optimizer_, state.optimizer),
                               absl::StrCat(path, " has the optimizer of another model")));
  if (scaler_ && state.scaler) scaler_.emplace(LossScalerStateOf(*state.scaler));
  epoch_ = state.epoch + 1;
  next_micro_step_ = *position;
  updates_ = counter(kUpdates, epoch_ * updates_per_epoch_);
  if (next_micro_step_ > 0) {
    const auto number = [&state](const std::string& name) {
      const auto found = state.numbers.find(name);
      return found == state.numbers.end() ? 0.0 : found->second;
    };
    const int64_t count = counter(kMeterCount, 0);
    for (size_t i = 0; i < loss_meters_.size(); ++i) {
      loss_meters_[i].Restore(number(kMeterTotal + objective_->loss_names()[i]), count);
    }
    lr_meter_.Restore(number(absl::StrCat(kMeterTotal, "lr")), count);
  }
  // What the next save writes as the optimiser's rate if nothing is trained before it.
  if (!state.optimizer.groups.empty()) lr_ = state.optimizer.groups[0].lr;
  saver_->set_newest(path);
  if (first_rank()) {
    progress_->Print(absl::StrFormat("resumed from %s: epoch %d, micro-step %d of %d, %d updates done", path, epoch_,
                                     next_micro_step_, steps_per_epoch_, updates_));
    for (const std::string& change : changes) {
      TEC_LOG(WARNING) << "changed since the checkpoint, and applied from here on: " << change;
    }
  }
  return absl::OkStatus();
}

absl::Status TrainRun::Resume() {
  epoch_ = experiment_.schedule().start_epoch();
  updates_ = epoch_ * updates_per_epoch_;
  const std::string& wanted = experiment_.checkpointing().resume();
  if (absl::StartsWith(wanted, "http://") || absl::StartsWith(wanted, "https://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--resume=", wanted, ": addresses are not read; download the file and give its path"));
  }
  // The first rank chooses the file, so that all read the same one.
  std::string path = wanted;
  std::optional<TrainingState> state;
  absl::Status status;
  if (first_rank() && wanted.empty()) {
    absl::StatusOr<LoadedState> newest = saver_->folder().LoadNewest();
    if (newest.ok()) {
      path = newest->path;
      state = std::move(newest->state);
    } else if (!absl::IsNotFound(newest.status())) {
      status = newest.status();
    }
  }
  TEC_RETURN_IF_ERROR(group_->Agree(status));
  TEC_ASSIGN_OR_RETURN(path, group_->BroadcastText(path));
  if (path.empty()) return absl::OkStatus();
  return group_->Agree([&]() -> absl::Status {
    if (!state) {
      absl::StatusOr<TrainingState> loaded = LoadTrainingState(path);
      TEC_RETURN_IF_ERROR(Annotate(loaded.status(), "cannot resume"));
      state = *std::move(loaded);
    }
    return ResumeFrom(*state, path);
  }());
}

absl::Status TrainRun::OpenLogs() {
  if (!first_rank()) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(WriteFile(OutputPath("experiment.textproto"), ToText(experiment_)));
  if (!saver_->newest().empty()) {
    TEC_RETURN_IF_ERROR(TrimLog(OutputPath("log.txt"), "epoch", epoch_));
    TEC_RETURN_IF_ERROR(TrimLog(OutputPath("metrics.jsonl"), "update", updates_ + 1));
  }
  const std::string& log_dir = experiment_.logging().log_dir();
  const double start = static_cast<double>(next_micro_step_) / steps_per_epoch_ + epoch_;
  TEC_ASSIGN_OR_RETURN(events_, EventWriter::Create(log_dir.empty() ? experiment_.logging().output_dir() : log_dir,
                                                    static_cast<int64_t>(start * 1000)));
  return absl::OkStatus();
}

void TrainRun::Announce() {
  int64_t trainable = 0;
  for (const at::Tensor& parameter : optimizer_->parameters()) trainable += parameter.numel();
  const config::Optimizer& optimizer = experiment_.optimizer();
  progress_->Print(absl::StrFormat(
      "%s: %s, %.1f million trainable parameters%s", experiment_.method() == config::MAE ? "MAE" : "TEC",
      experiment_.model().name(), trainable * 1e-6,
      experiment_.method() == config::MAE ? "" : absl::StrCat(", base model ", experiment_.base_model().path())));
  progress_->Print(absl::StrFormat(
      "%s: %d images; %d ranks x %d images x %d micro-steps an update, %d updates an epoch", experiment_.data().path(),
      loader_->dataset().size(), group_->world_size(), optimizer.batch_size(), accum_iter_, updates_per_epoch_));
  progress_->Print(absl::StrFormat("lr %.3g, %s on %s, results in %s", schedule_.lr,
                                   config::Precision_Name(experiment_.runtime().precision()), device_.str(),
                                   experiment_.logging().output_dir()));
}

absl::StatusOr<TrainResult> TrainRun::Run() {
  TEC_RETURN_IF_ERROR(Prepare());
  TEC_RETURN_IF_ERROR(Resume());
  TEC_RETURN_IF_ERROR(group_->Agree(OpenLogs()));
  Announce();
  KeepFreedMemory();

  result_.loss = result_.loss_fea = result_.loss_att = std::numeric_limits<double>::quiet_NaN();
  start_time_ = last_flush_time_ = Now();
  const int64_t epochs = experiment_.schedule().epochs();
  if (epoch_ >= epochs) progress_->Print("nothing is left to train: all epochs are done");
  while (epoch_ < epochs && !stop_) {
    TEC_RETURN_IF_ERROR(AsFailure(TrainEpoch()));
    if (next_micro_step_ < steps_per_epoch_) {
      // Asked to stop within the epoch.
      TEC_RETURN_IF_ERROR(AsFailure(group_->Agree(first_rank() ? saver_->Save(State()) : absl::OkStatus())));
      break;
    }
    TEC_RETURN_IF_ERROR(AsFailure(FinishEpoch()));
  }
  TEC_RETURN_IF_ERROR(AsFailure(group_->Agree(first_rank() ? saver_->Wait() : absl::OkStatus())));
  result_.stopped = epoch_ < epochs;
  result_.epochs = epoch_;
  result_.updates = updates_;
  result_.seconds = Now() - start_time_;
  result_.images_per_second = steps_done_ * images_per_micro_step() / std::max(result_.seconds, 1e-9);
  result_.checkpoint = saver_->newest();
  if (result_.stopped) {
    progress_->Print(absl::StrCat("stopped; saved ", saver_->newest(), "; the same command goes on from there"));
  }
  return result_;
}

absl::Status TrainRun::TrainEpoch() {
  const config::Data& data = experiment_.data();
  const std::vector<float> mean(data.mean().begin(), data.mean().end()), std(data.std().begin(), data.std().end());
  loader_->StartEpoch(epoch_, next_micro_step_);
  epoch_time_ = Now();
  epoch_wait_ = loader_->wait_seconds();
  epoch_steps_done_ = 0;
  update_time_ = epoch_time_;
  update_wait_ = epoch_wait_;
  while (next_micro_step_ < steps_per_epoch_) {
    const double step_start = Now(), wait_before = loader_->wait_seconds();
    const int64_t step = next_micro_step_;
    const bool in_update = step / accum_iter_ < updates_per_epoch_;
    TEC_ASSIGN_OR_RETURN(const Batch* batch, loader_->Next());
    TEC_CHECK(batch != nullptr) << "the epoch ended after " << step << " of " << steps_per_epoch_ << " micro-steps";
    if (step % accum_iter_ == 0) {
      lr_ = LearningRate(schedule_, static_cast<double>(step) / steps_per_epoch_ + epoch_);
    }
    const at::Tensor images = BatchImages(*batch, device_, mean, std);
    const at::Tensor noise = MaskingNoise(static_cast<uint64_t>(experiment_.seed()), static_cast<uint64_t>(epoch_),
                                          batch->indices, objective_->patches())
                                 .to(device_);
    if (in_update) {
      const Objective::Loss loss = objective_->Compute(images, noise);
      const at::Tensor share = loss.total / static_cast<double>(accum_iter_);
      (scaler_ ? scaler_->Scale(share) : share).backward();
      pending_losses_.push_back(loss.parts);
    } else {
      // The reference computes a gradient here and throws it away; its loss does count in the epoch's mean.
      at::NoGradGuard no_grad;
      pending_losses_.push_back(objective_->Compute(images, noise).parts);
    }
    pending_lr_.push_back(lr_);
    ++next_micro_step_;
    ++steps_done_;
    ++epoch_steps_done_;
    ++update_steps_;
    if (in_update && next_micro_step_ % accum_iter_ == 0) TEC_RETURN_IF_ERROR(FinishUpdate());
    step_seconds_.Add(Now() - step_start);
    step_wait_.Add(loader_->wait_seconds() - wait_before);
    ShowProgress();
    if (stop_ && pending_losses_.empty() && next_micro_step_ < steps_per_epoch_) return absl::OkStatus();
  }
  // Left-over micro-steps.
  return CollectLosses().status();
}

absl::StatusOr<std::vector<std::vector<double>>> TrainRun::CollectLosses() {
  std::vector<std::vector<double>> rows;
  if (pending_losses_.empty()) return rows;
  const int64_t steps = static_cast<int64_t>(pending_losses_.size()), parts = static_cast<int64_t>(loss_meters_.size());
  // One operation among the ranks carries all that they have to agree on.
  const double stop_here = stop_signal_.received() != 0 ? 1 : 0;
  const double new_bad_here = bad_images_->news() ? 1 : 0;
  at::Tensor all = at::cat({at::stack(pending_losses_).reshape({steps * parts}).to(at::kDouble),
                            at::tensor({stop_here, new_bad_here}, at::kDouble).to(device_)});
  TEC_RETURN_IF_ERROR(Annotate(group_->AllReduceSum(all), "agreeing on the losses"));
  all = all.cpu();
  const double* values = all.data_ptr<double>();
  if (values[steps * parts] > 0) stop_ = true;
  if (values[steps * parts + 1] > 0) TEC_RETURN_IF_ERROR(bad_images_->Share());
  for (int64_t step = 0; step < steps; ++step) {
    rows.emplace_back();
    for (int64_t part = 0; part < parts; ++part) {
      rows.back().push_back(values[step * parts + part] / group_->world_size());
    }
  }
  pending_losses_.clear();
  for (int64_t step = 0; step < steps; ++step) {
    if (!std::isfinite(rows[step][0])) {
      std::string what = absl::StrFormat("the loss is not finite at epoch %d, micro-step %d of %d:", epoch_,
                                         next_micro_step_ - steps + step, steps_per_epoch_);
      for (int64_t part = 0; part < parts; ++part) {
        absl::StrAppend(&what, " ", objective_->loss_names()[part], " ", rows[step][part]);
      }
      return NonFinite(what);
    }
    for (int64_t part = 0; part < parts; ++part) loss_meters_[part].Add(rows[step][part]);
    lr_meter_.Add(pending_lr_[step]);
  }
  pending_lr_.clear();
  return rows;
}

// The sums over ranks are not finite on any rank if they are not on one, so that all ranks come here together.
absl::Status TrainRun::NonFinite(const std::string& what) {
  return absl::AbortedError(absl::StrFormat(
      "update %d: %s; lr %g. Stopped without saving; the newest checkpoint, from before, is %s. A lower --blr, "
      "--precision=float32 or --clip_grad may help",
      updates_ + 1, what, lr_, saver_->WaitForNewest()));
}

absl::Status TrainRun::FinishUpdate() {
  const std::vector<at::Tensor>& parameters = optimizer_->parameters();
  TEC_RETURN_IF_ERROR(group_->AverageGradients(parameters));
  TEC_ASSIGN_OR_RETURN(const auto rows, CollectLosses());
  const bool overflow = scaler_ && !scaler_->Unscale(parameters);
  const double clip = experiment_.optimizer().clip_grad();
  double grad_norm = std::numeric_limits<double>::infinity();
  if (!overflow) {
    grad_norm = (clip > 0 ? ClipGradientNorm(parameters, clip) : GradientNorm(parameters)).item<double>();
    if (!std::isfinite(grad_norm)) {
      return NonFinite(absl::StrFormat("the gradient's norm is %g at epoch %d, micro-step %d of %d", grad_norm, epoch_,
                                       next_micro_step_ - 1, steps_per_epoch_));
    }
    optimizer_->Step(lr_);
  }
  if (scaler_) scaler_->Update();
  optimizer_->ZeroGrad();
  ++updates_;
  if (options_.stop_after_update && options_.stop_after_update(updates_)) stop_ = true;
  TEC_RETURN_IF_ERROR(LogUpdate(rows, grad_norm, overflow));
  const double minutes = experiment_.checkpointing().save_every_minutes();
  // At the epoch's last update the save at its end is near.
  if (first_rank() && minutes > 0 && saver_->MinutesSinceSave() >= minutes &&
      next_micro_step_ < updates_per_epoch_ * accum_iter_) {
    TEC_RETURN_IF_ERROR(saver_->Save(State()));
  }
  return absl::OkStatus();
}

absl::Status TrainRun::LogUpdate(const std::vector<std::vector<double>>& rows, double grad_norm, bool skipped) {
  const double now = Now(), wait = loader_->wait_seconds();
  const double seconds = now - update_time_, waited = wait - update_wait_;
  const int64_t images = update_steps_ * images_per_micro_step();
  update_time_ = now;
  update_wait_ = wait;
  update_steps_ = 0;
  if (!first_rank()) return absl::OkStatus();
  JsonFields fields = {{"update", updates_}, {"epoch", epoch_}, {"micro_step", next_micro_step_ - 1}, {"lr", lr_}};
  for (size_t part = 0; part < loss_meters_.size(); ++part) {
    double mean = 0;
    for (const auto& row : rows) mean += row[part] / rows.size();
    fields.emplace_back(objective_->loss_names()[part], mean);
  }
  fields.emplace_back("grad_norm", grad_norm);
  if (scaler_) {
    fields.emplace_back("loss_scale", scaler_->state().scale);
    fields.emplace_back("skipped", int64_t{skipped});
  }
  fields.emplace_back("images_per_second", images / std::max(seconds, 1e-9));
  fields.emplace_back("data_wait_seconds", waited);
  TEC_RETURN_IF_ERROR(AppendLine(OutputPath("metrics.jsonl"), ToJson(fields)));

  // The reference's x axis: thousandths of an epoch, comparable between batch sizes. Its loss is the last micro-step's.
  const double where = static_cast<double>(next_micro_step_ - 1) / steps_per_epoch_ + epoch_;
  std::vector<std::pair<std::string, double>> scalars = {{"train_loss", rows.back()[0]}, {"lr", lr_}};
  for (size_t part = 1; part < loss_meters_.size(); ++part) {
    scalars.emplace_back(absl::StrCat("train_", objective_->loss_names()[part]), rows.back()[part]);
  }
  if (!skipped) scalars.emplace_back("grad_norm", grad_norm);
  TEC_RETURN_IF_ERROR(events_->AddScalars(static_cast<int64_t>(where * 1000), scalars));
  constexpr double kFlushSeconds = 10;
  if (now - last_flush_time_ >= kFlushSeconds) {
    last_flush_time_ = now;
    TEC_RETURN_IF_ERROR(events_->Flush());
  }
  return absl::OkStatus();
}

absl::Status TrainRun::FinishEpoch() {
  const double seconds = Now() - epoch_time_, waited = loader_->wait_seconds() - epoch_wait_;
  result_.loss = loss_meters_[0].Mean();
  if (loss_meters_.size() > 1) result_.loss_fea = loss_meters_[1].Mean();
  if (loss_meters_.size() > 2) result_.loss_att = loss_meters_[2].Mean();
  absl::Status status;
  if (first_rank()) {
    JsonFields fields = {{"train_lr", lr_meter_.Mean()}};
    for (size_t part = 0; part < loss_meters_.size(); ++part) {
      fields.emplace_back(absl::StrCat("train_", objective_->loss_names()[part]), loss_meters_[part].Mean());
    }
    fields.emplace_back("epoch", epoch_);
    fields.emplace_back("updates", updates_);
    fields.emplace_back("images_per_second", epoch_steps_done_ * images_per_micro_step() / std::max(seconds, 1e-9));
    fields.emplace_back("seconds", seconds);
    fields.emplace_back("data_wait_seconds", waited);
    fields.emplace_back("bad_images", loader_->bad_count());
    if (options_.monitor) {
      const absl::StatusOr<std::vector<std::pair<std::string, double>>> values =
          options_.monitor(epoch_, objective_->model());
      if (values.ok()) {
        std::string line = "monitor:";
        for (const auto& [name, value] : *values) {
          fields.emplace_back(name, value);
          absl::StrAppendFormat(&line, " %s %.3f", name, value);
        }
        if (!values->empty()) {
          progress_->Print(line);
          status = events_->AddScalars((epoch_ + 1) * 1000, *values);
        }
      } else {
        TEC_LOG(WARNING) << "epoch " << epoch_ << " was not monitored: " << values.status().message();
      }
    }
    // Before the checkpoint: a run that dies in between trains the epoch again and TrimLog takes this line away.
    if (status.ok()) status = AppendLine(OutputPath("log.txt"), ToJson(fields));
    if (status.ok()) status = events_->Flush();
  }
  const int64_t finished = epoch_;
  ++epoch_;
  next_micro_step_ = 0;
  for (Meter& meter : loss_meters_) meter = Meter();
  lr_meter_ = Meter();
  const int64_t epochs = experiment_.schedule().epochs(), period = experiment_.checkpointing().save_period();
  if (first_rank() && status.ok()) {
    // The numbered file first: a run that dies in between trains the epoch again and writes it again.
    std::vector<std::string> numbered;
    if (epoch_ == epochs || (period > 0 && finished % period == 0)) {
      numbered.push_back(CheckpointFolder::NumberedName(finished));
    }
    status = saver_->Save(State(), std::move(numbered));
  }
  return group_->Agree(status);
}

void TrainRun::ShowProgress() {
  if (!progress_->WouldShow(next_micro_step_, steps_per_epoch_)) return;
  ProgressState state;
  state.epoch = epoch_;
  state.epochs = experiment_.schedule().epochs();
  state.step = next_micro_step_;
  state.steps_per_epoch = steps_per_epoch_;
  state.lr = lr_;
  for (size_t part = 0; part < loss_meters_.size(); ++part) {
    if (loss_meters_[part].count() == 0) continue;
    state.losses.push_back({objective_->loss_names()[part], loss_meters_[part].Median(), loss_meters_[part].Mean()});
  }
  state.step_seconds = step_seconds_.Median();
  state.data_wait_seconds = step_wait_.Median();
  const double elapsed = Now() - start_time_;
  state.images_per_second = steps_done_ * images_per_micro_step() / std::max(elapsed, 1e-9);
  const int64_t left = (state.epochs - epoch_) * steps_per_epoch_ - next_micro_step_;
  state.eta_seconds = left * elapsed / steps_done_;
  progress_->Update(state);
}

TrainingState TrainRun::State() const {
  TrainingState state;
  state.model = ViewsOf(NamedState(objective_->model()));
  state.optimizer = OptimizerStateOf(*optimizer_, lr_, /*with_lr_scale=*/false);
  state.epoch = epoch_ - 1;
  state.next_micro_step = next_micro_step_;
  if (scaler_) state.scaler = ScalerStateOf(*scaler_);
  state.args = ReferenceArguments(experiment_);
  state.method = experiment_.method() == config::MAE ? "mae" : "tec";
  state.experiment = ToText(WeightDeciding(experiment_));
  state.counters[kUpdates] = updates_;
  state.counters[kDatasetSize] = loader_->dataset().size();
  state.counters[kImagesPerMicroStep] = images_per_micro_step();
  state.counters[kBaseModelChecksum] = objective_->base_model_checksum();
  if (next_micro_step_ > 0) {
    state.counters[kMeterCount] = lr_meter_.count();
    for (size_t i = 0; i < loss_meters_.size(); ++i) {
      state.numbers[kMeterTotal + objective_->loss_names()[i]] = loss_meters_[i].total();
    }
    state.numbers[absl::StrCat(kMeterTotal, "lr")] = lr_meter_.total();
  }
  return state;
}

}  // namespace

absl::StatusOr<TrainResult> Train(const config::Experiment& resolved, const TrainOptions& options) {
  return CatchTorchOr<TrainResult>([&] { return TrainRun(resolved, options).Run(); });
}

ExitCode ExitCodeOf(const absl::StatusOr<TrainResult>& result) {
  if (result.ok()) return result->stopped ? kExitStopped : kExitDone;
  return ExitCodeOf(result.status());
}

}  // namespace tec
