#include "eval/linear/run_linear.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "c10/core/DeviceGuard.h"
#include "c10/core/GradMode.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "data/loader/sampler.h"
#include "eval/linear/linear_probe.h"
#include "eval/linear/probe_transform.h"
#include "eval/metrics/accuracy.h"
#include "eval/metrics/report.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/nn/autocast.h"
#include "tec/optim/schedule.h"
#include "tec/run/event_writer.h"
#include "tec/run/json_log.h"
#include "tec/run/meter.h"
#include "tec/run/progress.h"
#include "tec/run/run_saver.h"
#include "tec/run/stop_signal.h"

namespace tec {
namespace {

constexpr char kMethod[] = "linear";
constexpr char kBest[] = "best_checkpoint.pth";
constexpr CropOptions kTrainCrop = {0.08, 1.0, 3.0 / 4.0, 4.0 / 3.0};

// Names of what a checkpoint holds. Written into files: never rename.
constexpr char kUpdates[] = "updates";
constexpr char kMaxAccuracy[] = "max_accuracy";
constexpr char kBestHead[] = "best_head";
constexpr char kBestEpoch[] = "best_epoch";
constexpr char kLossSum[] = "epoch_loss_sum";
constexpr char kLossCount[] = "epoch_micro_steps";
constexpr char kFeatures[] = "features";
constexpr char kRate[] = "rate";

double Now() { return absl::GetCurrentTimeNanos() * 1e-9; }

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

// Of one head after an epoch.
struct HeadAccuracy {
  double loss = 0, top1 = 0, top5 = 0;  // Mean cross-entropy; percent.
};

class LinearRun {
 public:
  explicit LinearRun(const LinearRunOptions& options) : options_(options), frozen_(options.frozen) {}
  absl::StatusOr<LinearRunResult> Run();

 private:
  struct TrainBatch {
    at::Tensor features, labels;  // float32 [N, whole width]; int64 [N].
  };

  absl::Status Open();
  void MakeProbes();
  absl::Status OpenTrainingData();
  absl::Status ResumeFrom(const LoadedState& loaded);
  absl::Status OpenLogs(bool resumed);

  absl::Status Train();
  absl::Status TrainEpoch();
  absl::StatusOr<TrainBatch> NextBatch(int64_t micro_step);
  absl::Status FinishEpoch();
  std::vector<HeadAccuracy> EvaluateHeads(const std::vector<std::unique_ptr<LinearProbe>>& probes) const;
  // The table and results.json, from the best head's file.
  absl::Status Report(const std::string& best_path);

  // What decides the weights, one "name: value" a line.
  std::string Record() const;
  TrainingState State() const;
  TrainingState BestState() const;
  void ShowProgress(int64_t micro_step);

  bool StopAsked() {
    stop_ = stop_ || stop_signal_.received() != 0;
    return stop_;
  }
  std::string OutputPath(const char* name) const { return absl::StrCat(frozen_.output_dir, "/", name); }

  int64_t heads() const { return static_cast<int64_t>(options_.features.size() * options_.rates.size()); }
  // Heads are numbered by features, then by rate.
  const FeatureSpec& FeaturesOfHead(int64_t head) const { return options_.features[head / options_.rates.size()]; }
  double RateOfHead(int64_t head) const { return options_.rates[head % options_.rates.size()]; }
  std::string HeadName(int64_t head) const {
    const std::string name = tec::NameOf(FeaturesOfHead(head));
    return options_.rates.size() == 1 ? name : absl::StrFormat("%s, rate %g", name, RateOfHead(head));
  }
  // The columns of the features that probe number `probe` reads.
  at::Tensor Columns(const at::Tensor& features, const FeatureSpec& spec) const {
    const auto [first, count] = ColumnsOf(spec, whole_, inputs_.encoder->options().width);
    return features.narrow(1, first, count);
  }

  const LinearRunOptions& options_;
  FrozenSettings frozen_;
  FrozenInputs inputs_;
  std::optional<c10::OptionalDeviceGuard> device_guard_;
  int64_t classes_ = 0;
  FeatureSpec whole_;
  Features held_out_;                                 // Values and labels on the device.
  std::vector<std::unique_ptr<LinearProbe>> probes_;  // One for each of options_.features.

  std::unique_ptr<Loader> loader_;  // With a random crop; else
  Features train_;                  // the features, on the device,
  std::optional<Sampler> sampler_;  // and their order.
  int64_t images_ = 0;              // Of a pass.
  int64_t steps_per_pass_ = 0;      // Micro-steps that one pass over the images gives.
  int64_t updates_per_pass_ = 0;    // Whole updates of them; what is left over is not used.
  int64_t updates_per_epoch_ = 0;

  std::optional<RunSaver> saver_;
  std::unique_ptr<EventWriter> events_;
  std::unique_ptr<Progress> progress_;
  StopSignal stop_signal_;
  ScheduleOptions schedule_;

  // Where the run stands.
  int64_t epoch_ = 0;    // Epochs finished, their evaluation included.
  int64_t updates_ = 0;  // Updates done.
  double lr_ = 0;
  double max_accuracy_ = -1;
  int64_t best_head_ = -1, best_epoch_ = -1;
  at::Tensor loss_sum_;  // float64 [heads], over the micro-steps of the epoch.
  int64_t loss_count_ = 0;
  bool stop_ = false;
  std::vector<HeadAccuracy> newest_;  // Of the last evaluation.

  double start_time_ = 0;
  int64_t steps_done_ = 0;
  Meter step_seconds_, step_wait_, loss_meter_;
  LinearRunResult result_;
};

absl::Status LinearRun::Open() {
  TEC_ASSIGN_OR_RETURN(inputs_, OpenFrozenInputs(&frozen_, "linear probing"));
  if (inputs_.device.is_cuda()) device_guard_.emplace(inputs_.device);
  TEC_ASSIGN_OR_RETURN(whole_, UnionOf(options_.features));
  for (const FeatureSpec& spec : options_.features) {
    TEC_RETURN_IF_ERROR(CheckFeatureSpec(spec, inputs_.encoder->options()));
  }
  frozen_.features.spec = whole_;
  frozen_.features.stop = [this] { return StopAsked(); };
  const int64_t classes = static_cast<int64_t>(inputs_.data.classes().size());
  classes_ = options_.nb_classes == 0 ? classes : options_.nb_classes;
  if (classes_ < classes) {
    return absl::InvalidArgumentError(absl::StrCat("--nb_classes=", options_.nb_classes, ", but ", frozen_.data_path,
                                                   " has ", classes, " classes; it must be at least that"));
  }
  return absl::OkStatus();
}

void LinearRun::MakeProbes() {
  int64_t first_head = 0;
  for (const FeatureSpec& spec : options_.features) {
    LinearProbeOptions probe;
    probe.width = spec.Width(inputs_.encoder->options().width);
    probe.classes = classes_;
    probe.lr_scales = options_.rates;
    probe.batch_norm = options_.batch_norm;
    probe.weight_decay = options_.weight_decay;
    probe.optimizer = options_.optimizer;
    probes_.push_back(std::make_unique<LinearProbe>(probe, frozen_.seed, first_head, inputs_.device));
    first_head += probes_.back()->heads();
  }
  loss_sum_ = at::zeros({heads()}, at::TensorOptions(inputs_.device).dtype(at::kDouble));
  schedule_.lr = options_.lr;
  schedule_.min_lr = options_.min_lr;
  schedule_.warmup_epochs = options_.warmup_epochs;
  schedule_.epochs = static_cast<double>(options_.epochs);
}

absl::Status LinearRun::OpenTrainingData() {
  if (options_.crop == LinearRunOptions::Crop::kNone) {
    TEC_ASSIGN_OR_RETURN(train_, FrozenFeatures(inputs_, frozen_, Split::kTrain));
    train_.values = train_.values.to(inputs_.device);
    train_.labels = train_.labels.to(inputs_.device);
    images_ = train_.values.size(0);
    SamplerOptions order;
    order.dataset_size = images_;
    order.batch_size = options_.batch_size;
    order.seed = frozen_.seed;
    absl::StatusOr<Sampler> sampler = Sampler::Create(order);
    TEC_RETURN_IF_ERROR(Annotate(sampler.status(), frozen_.data_path));
    sampler_ = *std::move(sampler);
    steps_per_pass_ = sampler_->batches_per_epoch();
  } else {
    const int size = static_cast<int>(inputs_.encoder->options().image_size);
    const int channels = static_cast<int>(inputs_.encoder->options().channels);
    std::shared_ptr<const Transform> transform;
    if (options_.crop == LinearRunOptions::Crop::kSingleDraw) {
      transform = std::make_shared<ProbeTransform>(size, kTrainCrop, channels);
    } else {
      TrainTransform::Options train;
      train.size = size;
      train.crop = kTrainCrop;
      train.channels = channels;
      if (options_.crop == LinearRunOptions::Crop::kRandomResizedBilinear) train.filter = ResizeFilter::kBilinear;
      transform = std::make_shared<TrainTransform>(train);
    }
    LoaderOptions loader;
    loader.batch_size = options_.batch_size;
    loader.seed = frozen_.seed;
    loader.threads = frozen_.features.threads;
    loader.max_bad_fraction = frozen_.features.max_bad_fraction;
    loader.bad_images_path = OutputPath("bad_images.txt");
    loader.allocate = BatchMemory(inputs_.device, frozen_.features.pin_mem);
    absl::StatusOr<std::unique_ptr<Loader>> made = Loader::Create(inputs_.data.train, transform, loader);
    TEC_RETURN_IF_ERROR(Annotate(made.status(), frozen_.data_path));
    loader_ = *std::move(made);
    images_ = inputs_.data.train->size();
    steps_per_pass_ = loader_->batches_per_epoch();
  }
  updates_per_pass_ = steps_per_pass_ / options_.accum_iter;
  if (updates_per_pass_ == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %d images make %d micro-steps of %d images, fewer than --accum_iter=%d: not one update. Use a smaller "
        "--batch_size or --accum_iter",
        frozen_.data_path, images_, steps_per_pass_, options_.batch_size, options_.accum_iter));
  }
  updates_per_epoch_ = options_.epoch_length > 0 ? options_.epoch_length : updates_per_pass_;
  return absl::OkStatus();
}

std::string LinearRun::Record() const {
  std::vector<std::string> features, rates;
  for (const FeatureSpec& spec : options_.features) features.push_back(tec::NameOf(spec));
  for (const double rate : options_.rates) rates.push_back(Exact(rate));
  return absl::StrJoin(
      std::vector<std::string>{
          absl::StrFormat("encoder: %016x", inputs_.encoder_fingerprint),
          absl::StrFormat("training images: %016x", FingerprintOf(*inputs_.data.train)),
          absl::StrCat("features: ", absl::StrJoin(features, " ")),
          absl::StrCat("rates: ", absl::StrJoin(rates, " ")),
          absl::StrCat("nb_classes: ", classes_),
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
          absl::StrCat("precision: ", at::toString(frozen_.features.precision)),
          absl::StrCat("seed: ", frozen_.seed),
      },
      "\n");
}

absl::Status LinearRun::ResumeFrom(const LoadedState& loaded) {
  const TrainingState& state = loaded.state;
  const std::string record = Record();
  if (state.experiment != record) {
    const std::vector<std::string> before = absl::StrSplit(state.experiment, '\n'), now = absl::StrSplit(record, '\n');
    std::vector<std::string> changes;
    for (size_t i = 0; i < std::max(before.size(), now.size()); ++i) {
      const std::string was = i < before.size() ? before[i] : "nothing", is = i < now.size() ? now[i] : "nothing";
      if (was != is)
        changes.push_back(
            absl::StrCat(is, " (was ", was.substr(was.find(": ") == std::string::npos ? 0 : was.find(": ") + 2), ")"));
    }
    return absl::InvalidArgumentError(absl::StrCat(loaded.path, " is of another run: ", absl::StrJoin(changes, "; "),
                                                   ". Choose another --output_dir, or the same settings"));
  }
  const auto damaged = [&](const std::string& name) {
    return absl::DataLossError(absl::StrCat(loaded.path, ": ", name, " is missing or of another shape"));
  };
  const auto load = [&](const StateDict& from, const std::string& name, at::Tensor into) -> absl::Status {
    const TensorView* view = from.Find(name);
    if (view == nullptr || !CopyInto(*view, std::move(into)).ok()) return damaged(name);
    return absl::OkStatus();
  };
  for (size_t i = 0; i < probes_.size(); ++i) {
    const LinearProbe& probe = *probes_[i];
    const std::string prefix = absl::StrCat(tec::NameOf(options_.features[i]), ".");
    TEC_RETURN_IF_ERROR(load(state.model, prefix + "weight", probe.weight()));
    TEC_RETURN_IF_ERROR(load(state.model, prefix + "bias", probe.bias()));
    if (options_.batch_norm) {
      TEC_RETURN_IF_ERROR(load(state.model, prefix + "running_mean", probe.running_mean()));
      TEC_RETURN_IF_ERROR(load(state.model, prefix + "running_var", probe.running_var()));
    }
    for (size_t k = 0; k < probe.momentum().size(); ++k) {
      TEC_RETURN_IF_ERROR(load(state.extra, absl::StrCat(prefix, "momentum.", k), probe.momentum()[k]));
    }
  }
  TEC_RETURN_IF_ERROR(load(state.extra, kLossSum, loss_sum_));
  for (const char* name : {kUpdates, kBestHead, kBestEpoch, kLossCount}) {
    if (state.counters.count(name) == 0) return damaged(name);
  }
  if (state.numbers.count(kMaxAccuracy) == 0) return damaged(kMaxAccuracy);
  epoch_ = state.epoch + 1;
  updates_ = state.counters.at(kUpdates);
  best_head_ = state.counters.at(kBestHead);
  best_epoch_ = state.counters.at(kBestEpoch);
  loss_count_ = state.counters.at(kLossCount);
  max_accuracy_ = state.numbers.at(kMaxAccuracy);
  saver_->set_newest(loaded.path);
  progress_->Print(absl::StrFormat("resumed from %s: %d of %d epochs finished, %d updates done", loaded.path, epoch_,
                                   options_.epochs, updates_));
  return absl::OkStatus();
}

absl::Status LinearRun::OpenLogs(bool resumed) {
  if (resumed) TEC_RETURN_IF_ERROR(TrimLog(OutputPath("log.txt"), "epoch", epoch_));
  TEC_ASSIGN_OR_RETURN(events_,
                       EventWriter::Create(options_.log_dir.empty() ? frozen_.output_dir : options_.log_dir, epoch_));
  return absl::OkStatus();
}

absl::StatusOr<LinearRunResult> LinearRun::Run() {
  TEC_CHECK(!frozen_.output_dir.empty() && !options_.features.empty() && !options_.rates.empty());
  result_.max_accuracy = std::numeric_limits<double>::quiet_NaN();
  Progress::Options progress;
  progress.print_freq = options_.print_freq;
  progress.quiet = options_.quiet;
  progress_ = std::make_unique<Progress>(progress);
  TEC_RETURN_IF_ERROR(Open());
  // An evaluation of a named file leaves no checkpoint behind.
  if (!options_.eval || options_.resume.empty()) {
    TEC_ASSIGN_OR_RETURN(saver_, RunSaver::Open(frozen_.output_dir));
  }
  if (options_.eval) {
    const std::string path = options_.resume.empty() ? saver_->folder().PathOf(kBest) : options_.resume;
    TEC_ASSIGN_OR_RETURN(held_out_, FrozenFeatures(inputs_, frozen_, Split::kHeldOut));
    held_out_.values = held_out_.values.to(inputs_.device);
    TEC_RETURN_IF_ERROR(Report(path));
    return result_;
  }
  TEC_ASSIGN_OR_RETURN(const std::optional<LoadedState> found,
                       FindRunState(options_.resume, saver_ ? &*saver_ : nullptr, kMethod, "give it as --checkpoint"));
  MakeProbes();
  if (found) TEC_RETURN_IF_ERROR(ResumeFrom(*found));
  TEC_ASSIGN_OR_RETURN(held_out_, FrozenFeatures(inputs_, frozen_, Split::kHeldOut));
  held_out_.values = held_out_.values.to(inputs_.device);
  TEC_RETURN_IF_ERROR(OpenTrainingData());
  TEC_RETURN_IF_ERROR(OpenLogs(found.has_value()));
  progress_->Print(absl::StrFormat(
      "linear probing by %s: %d head%s on %d-wide features, %d classes; %d images x %d micro-steps an update, %d "
      "updates an epoch; lr %.3g%s; results in %s",
      options_.protocol, heads(), heads() == 1 ? "" : "s", whole_.Width(inputs_.encoder->options().width), classes_,
      options_.batch_size, options_.accum_iter, updates_per_epoch_, options_.lr,
      options_.rates.size() == 1 ? "" : " times each rate", frozen_.output_dir));
  TEC_RETURN_IF_ERROR(AsFailure(Train()));
  result_.stopped = epoch_ < options_.epochs;
  result_.epochs = epoch_;
  result_.updates = updates_;
  if (best_head_ >= 0) {
    result_.max_accuracy = max_accuracy_;
    result_.best_head = HeadName(best_head_);
  }
  if (result_.stopped) {
    progress_->Print(absl::StrCat("stopped; saved ", saver_->newest(), "; the same command goes on from there"));
  } else {
    TEC_RETURN_IF_ERROR(AsFailure(Report(saver_->folder().PathOf(kBest))));
  }
  return result_;
}

absl::Status LinearRun::Train() {
  start_time_ = Now();
  if (epoch_ >= options_.epochs) progress_->Print("nothing is left to train: all epochs are done");
  while (epoch_ < options_.epochs) {
    TEC_RETURN_IF_ERROR(TrainEpoch());
    if (updates_ < (epoch_ + 1) * updates_per_epoch_) break;  // Stopped.
    TEC_RETURN_IF_ERROR(FinishEpoch());
    if (StopAsked()) return saver_->Wait();
  }
  if (epoch_ < options_.epochs) TEC_RETURN_IF_ERROR(saver_->Save(State()));
  return saver_->Wait();
}

absl::StatusOr<LinearRun::TrainBatch> LinearRun::NextBatch(int64_t micro_step) {
  if (sampler_) {
    std::vector<int64_t> rows;
    sampler_->Batch(micro_step, &rows);
    const at::Tensor index = at::tensor(rows, at::kLong).to(inputs_.device);
    return TrainBatch{train_.values.index_select(0, index), train_.labels.index_select(0, index)};
  }
  const double wait = loader_->wait_seconds();
  TEC_ASSIGN_OR_RETURN(const Batch* batch, loader_->Next());
  TEC_CHECK(batch != nullptr && batch->number == micro_step);
  step_wait_.Add(loader_->wait_seconds() - wait);
  c10::NoGradGuard no_gradient;
  TrainBatch result;
  {
    AutocastGuard autocast(inputs_.device.type(), frozen_.features.precision);
    const at::Tensor images = BatchImages(*batch, inputs_.device, frozen_.features.mean, frozen_.features.std);
    result.features = ComputeFeatures(*inputs_.encoder, images, whole_).to(at::kFloat);
  }
  result.labels = at::tensor(batch->labels, at::kLong).to(inputs_.device);
  return result;
}

absl::Status LinearRun::TrainEpoch() {
  const int64_t end = (epoch_ + 1) * updates_per_epoch_;
  bool started = false;
  while (updates_ < end && !StopAsked()) {
    // An update belongs to a pass over the images and has a place in it; with epoch_length an epoch may be a part of a
    // pass, or several.
    const int64_t pass = updates_ / updates_per_pass_, place = updates_ % updates_per_pass_;
    if (!started || place == 0) {
      if (sampler_) sampler_->SetEpoch(pass);
      if (loader_) loader_->StartEpoch(pass, place * options_.accum_iter);
      started = true;
    }
    // As MAE counts: micro-steps over all micro-steps of the epoch, those that make up no update included.
    const int64_t in_epoch = updates_ - epoch_ * updates_per_epoch_;
    const double fraction =
        options_.epoch_length > 0
            ? static_cast<double>(in_epoch) / static_cast<double>(updates_per_epoch_)
            : static_cast<double>(in_epoch * options_.accum_iter) / static_cast<double>(steps_per_pass_);
    lr_ = LearningRate(schedule_, static_cast<double>(epoch_) + (options_.lr_by_epoch ? 0 : fraction));
    for (int64_t i = 0; i < options_.accum_iter; ++i) {
      const double step_start = Now();
      TEC_ASSIGN_OR_RETURN(const TrainBatch batch, NextBatch(place * options_.accum_iter + i));
      std::vector<at::Tensor> losses;
      for (size_t p = 0; p < probes_.size(); ++p) {
        losses.push_back(
            probes_[p]->Accumulate(Columns(batch.features, options_.features[p]), batch.labels, options_.accum_iter));
      }
      const at::Tensor all = losses.size() == 1 ? losses[0] : at::cat(losses);
      loss_sum_.add_(all);
      ++loss_count_;
      ++steps_done_;
      const double value = all.min().item<double>();
      if (heads() == 1) {
        if (!std::isfinite(value)) {
          return absl::AbortedError(absl::StrFormat(
              "update %d: the loss is %g at epoch %d; lr %g. Stopped without saving; the newest checkpoint, from "
              "before, is %s. A lower --blr or --precision=float32 may help",
              updates_ + 1, value, epoch_, lr_, saver_->WaitForNewest()));
        }
      }
      loss_meter_.Add(value);
      step_seconds_.Add(Now() - step_start);
      ShowProgress(in_epoch * options_.accum_iter + i + 1);
    }
    for (const std::unique_ptr<LinearProbe>& probe : probes_) probe->Step(lr_);
    ++updates_;
    if (options_.stop_after_update && options_.stop_after_update(updates_)) stop_ = true;
  }
  return absl::OkStatus();
}

void LinearRun::ShowProgress(int64_t micro_step) {
  const int64_t steps = updates_per_epoch_ * options_.accum_iter;
  if (!progress_->WouldShow(micro_step, steps)) return;
  ProgressState state;
  state.epoch = epoch_;
  state.epochs = options_.epochs;
  state.step = micro_step;
  state.steps_per_epoch = steps;
  state.lr = lr_;
  state.losses.push_back({heads() == 1 ? "loss" : "lowest_loss", loss_meter_.Median(), loss_meter_.Mean()});
  state.step_seconds = step_seconds_.Median();
  state.data_wait_seconds = step_wait_.count() > 0 ? step_wait_.Median() : 0;
  const double elapsed = std::max(Now() - start_time_, 1e-9);
  state.images_per_second = static_cast<double>(steps_done_ * options_.batch_size) / elapsed;
  const int64_t left = (options_.epochs - epoch_) * steps - micro_step;
  state.eta_seconds = static_cast<double>(left) * elapsed / static_cast<double>(steps_done_);
  progress_->Update(state);
}

std::vector<HeadAccuracy> LinearRun::EvaluateHeads(const std::vector<std::unique_ptr<LinearProbe>>& probes) const {
  constexpr int64_t kRows = 256;
  std::vector<HeadAccuracy> result;
  const int64_t images = held_out_.values.size(0);
  const int64_t* labels = held_out_.labels.const_data_ptr<int64_t>();
  for (size_t p = 0; p < probes.size(); ++p) {
    const int64_t count = probes[p]->heads();
    std::vector<AccuracyCounter> counters(count, AccuracyCounter(classes_));
    at::Tensor loss = at::zeros({count}, at::kDouble);
    for (int64_t begin = 0; begin < images; begin += kRows) {
      const int64_t rows = std::min(kRows, images - begin);
      const at::Tensor logits =
          probes[p]->Logits(Columns(held_out_.values.narrow(0, begin, rows), options_.features[p]));
      const at::Tensor own = held_out_.labels.narrow(0, begin, rows).to(logits.device()).view({rows, 1, 1});
      loss -= at::log_softmax(logits, 2)
                  .gather(2, own.expand({rows, count, 1}))
                  .to(at::kDouble)
                  .sum(at::IntArrayRef({0, 2}))
                  .cpu();
      const at::Tensor host = logits.cpu().contiguous();
      const float* values = host.const_data_ptr<float>();
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t r = 0; r < count; ++r) {
          counters[r].Add(absl::Span<const float>(values + (i * count + r) * classes_, classes_), labels[begin + i]);
        }
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      result.push_back({loss[r].item<double>() / static_cast<double>(images), counters[r].top1(), counters[r].top5()});
    }
  }
  return result;
}

absl::Status LinearRun::FinishEpoch() {
  const at::Tensor train_losses = (loss_sum_ / static_cast<double>(loss_count_)).cpu();
  if (!at::isfinite(train_losses).any().item<bool>()) {
    return absl::AbortedError(absl::StrFormat(
        "epoch %d: the loss of every head is not finite. Stopped without saving; the newest checkpoint, from before, "
        "is %s. A lower --blr may help",
        epoch_, saver_->WaitForNewest()));
  }
  newest_ = EvaluateHeads(probes_);
  int64_t best = 0;
  for (int64_t h = 1; h < heads(); ++h) {
    if (newest_[h].top1 > newest_[best].top1) best = h;
  }
  const HeadAccuracy& accuracy = newest_[best];
  const bool better = accuracy.top1 > max_accuracy_;
  if (better) {
    max_accuracy_ = accuracy.top1;
    best_head_ = best;
    best_epoch_ = epoch_;
  }
  progress_->Print(absl::StrFormat("* Acc@1 %.3f Acc@5 %.3f loss %.3f%s", accuracy.top1, accuracy.top5, accuracy.loss,
                                   heads() == 1 ? "" : absl::StrCat(" (", HeadName(best), ")")));
  progress_->Print(absl::StrFormat("Max accuracy: %.2f%%", max_accuracy_));
  const LinearProbe& probe = *probes_[best / options_.rates.size()];
  // Before the checkpoint: a run that dies in between does the epoch again and TrimLog takes this line away.
  TEC_RETURN_IF_ERROR(
      AppendLine(OutputPath("log.txt"), ToJson({{"train_lr", lr_ * RateOfHead(best)},
                                                {"train_loss", train_losses[best].item<double>()},
                                                {"test_loss", accuracy.loss},
                                                {"test_acc1", accuracy.top1},
                                                {"test_acc5", accuracy.top5},
                                                {"epoch", epoch_},
                                                {"n_parameters", (probe.options().width + 1) * classes_},
                                                {"max_accuracy", max_accuracy_},
                                                {"best_head", best_head_},
                                                {"updates", updates_}})));
  TEC_RETURN_IF_ERROR(events_->AddScalars(
      epoch_,
      {{"perf/test_acc1", accuracy.top1}, {"perf/test_acc5", accuracy.top5}, {"perf/test_loss", accuracy.loss}}));
  TEC_RETURN_IF_ERROR(events_->Flush());
  std::vector<StateFiles> files;
  if (better) files.push_back({BestState(), {kBest}});
  ++epoch_;
  loss_sum_.zero_();
  loss_count_ = 0;
  files.push_back({State(), {CheckpointFolder::kThis}});
  return saver_->Save(files);
}

TrainingState LinearRun::State() const {
  TrainingState state;
  const auto add = [](StateDict* to, const std::string& name, const at::Tensor& tensor) {
    TEC_CHECK_OK(to->Add(name, ViewOf(tensor)));
  };
  for (size_t i = 0; i < probes_.size(); ++i) {
    const LinearProbe& probe = *probes_[i];
    const std::string prefix = absl::StrCat(tec::NameOf(options_.features[i]), ".");
    add(&state.model, prefix + "weight", probe.weight());
    add(&state.model, prefix + "bias", probe.bias());
    if (options_.batch_norm) {
      add(&state.model, prefix + "running_mean", probe.running_mean());
      add(&state.model, prefix + "running_var", probe.running_var());
    }
    for (size_t k = 0; k < probe.momentum().size(); ++k) {
      add(&state.extra, absl::StrCat(prefix, "momentum.", k), probe.momentum()[k]);
    }
  }
  add(&state.extra, kLossSum, loss_sum_);
  state.epoch = epoch_ - 1;
  state.method = kMethod;
  state.experiment = Record();
  state.counters[kUpdates] = updates_;
  state.counters[kBestHead] = best_head_;
  state.counters[kBestEpoch] = best_epoch_;
  state.counters[kLossCount] = loss_count_;
  state.numbers[kMaxAccuracy] = max_accuracy_;
  return state;
}

// One head under the names that MAE's probe gives it: with batch normalisation `head` is a sequence of the two.
TrainingState LinearRun::BestState() const {
  const LinearProbe& probe = *probes_[best_head_ / options_.rates.size()];
  const int64_t row = best_head_ % static_cast<int64_t>(options_.rates.size());
  TrainingState state;
  const auto add = [&state](const char* name, const at::Tensor& tensor) {
    TEC_CHECK_OK(state.model.Add(name, ViewOf(tensor)));
  };
  if (options_.batch_norm) {
    add("head.0.running_mean", probe.running_mean());
    add("head.0.running_var", probe.running_var());
    add("head.0.num_batches_tracked", at::full({}, updates_ * options_.accum_iter, at::kLong));
    add("head.1.weight", probe.weight()[row]);
    add("head.1.bias", probe.bias()[row]);
  } else {
    add("head.weight", probe.weight()[row]);
    add("head.bias", probe.bias()[row]);
  }
  state.epoch = epoch_;
  state.method = kMethod;
  state.experiment = Record();
  state.args.Set(kFeatures, Value::String(tec::NameOf(FeaturesOfHead(best_head_))));
  state.args.Set(kRate, Value::Double(RateOfHead(best_head_)));
  state.numbers[kMaxAccuracy] = max_accuracy_;
  return state;
}

absl::Status LinearRun::Report(const std::string& best_path) {
  absl::StatusOr<TrainingState> state = LoadTrainingState(best_path);
  if (!state.ok()) return Annotate(state.status(), "no head to evaluate");
  const absl::StatusOr<std::string> features = state->args.GetString(kFeatures);
  const TensorView* weight = state->model.Find("head.1.weight");
  const bool batch_norm = weight != nullptr;
  if (!batch_norm) weight = state->model.Find("head.weight");
  const TensorView* bias = state->model.Find(batch_norm ? "head.1.bias" : "head.bias");
  if (state->method != kMethod || !features.ok() || weight == nullptr || bias == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(best_path, " is not the ", kBest, " of a linear probe"));
  }
  TEC_ASSIGN_OR_RETURN(const FeatureSpec spec, ParseFeatureSpec(*features));
  const at::Tensor weights = TensorOf(*weight);
  LinearProbeOptions probe_options;
  probe_options.width = spec.Width(inputs_.encoder->options().width);
  probe_options.classes = classes_;
  probe_options.batch_norm = batch_norm;
  if (weights.sizes() != at::IntArrayRef({classes_, probe_options.width})) {
    return absl::InvalidArgumentError(absl::StrCat(best_path, ": its head is for another encoder or other classes"));
  }
  const std::string encoder = absl::StrFormat("encoder: %016x", inputs_.encoder_fingerprint);
  if (state->experiment.find(encoder) == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(best_path, " was trained on the features of another encoder than ", frozen_.checkpoint));
  }
  const LinearProbe probe(probe_options, /*seed=*/0, /*first_head=*/0, inputs_.device);
  probe.weight()[0].copy_(weights);
  TEC_RETURN_IF_ERROR(CopyInto(*bias, probe.bias()[0]));
  if (batch_norm) {
    const TensorView* mean = state->model.Find("head.0.running_mean");
    const TensorView* variance = state->model.Find("head.0.running_var");
    if (mean == nullptr || variance == nullptr) return absl::DataLossError(absl::StrCat(best_path, ": no averages"));
    TEC_RETURN_IF_ERROR(CopyInto(*mean, probe.running_mean()));
    TEC_RETURN_IF_ERROR(CopyInto(*variance, probe.running_var()));
  }
  // What the held-out features hold may be less than this head reads: another --features than the run had.
  absl::StatusOr<FeatureSpec> with = UnionOf({whole_, spec});
  if (!with.ok() || !(*with == whole_)) {
    return absl::InvalidArgumentError(
        absl::StrCat(best_path, " is a head for features ", *features, "; give --features=", *features));
  }
  ReportCounter counter(classes_);
  const at::Tensor logits = probe.Logits(Columns(held_out_.values, spec)).cpu().contiguous();
  for (int64_t i = 0; i < logits.size(0); ++i) {
    counter.Add(absl::Span<const float>(logits.const_data_ptr<float>() + i * classes_, classes_),
                held_out_.labels.const_data_ptr<int64_t>()[i]);
  }
  const ClassificationReport report = counter.Report();
  std::vector<std::string> classes = inputs_.data.classes();
  while (static_cast<int64_t>(classes.size()) < classes_) classes.push_back(absl::StrCat("#", classes.size()));

  nlohmann::ordered_json json = {{"checkpoint", frozen_.checkpoint},
                                 {"encoder", inputs_.description},
                                 {"data_path", frozen_.data_path},
                                 {"protocol", options_.protocol},
                                 {"train_images", inputs_.data.train->size()},
                                 {"test_images", held_out_.values.size(0)},
                                 {"unreadable_test_images", held_out_.unreadable},
                                 {"settings", absl::StrSplit(state->experiment, '\n')},
                                 {"best",
                                  {{"features", *features},
                                   {"rate", state->args.GetDouble(kRate).value_or(1)},
                                   {"epoch", state->epoch},
                                   {"chosen_on", "the held-out images, over heads and epochs"},
                                   {"accuracy", ToJson(report, classes)}}}};
  if (!options_.eval) {
    if (newest_.empty()) newest_ = EvaluateHeads(probes_);  // All epochs were done before.
    std::string table = absl::StrFormat("\n%-28s %8s %8s %8s\n", "after the last epoch", "top-1", "top-5", "loss");
    for (int64_t h = 0; h < heads(); ++h) {
      absl::StrAppendFormat(&table, "%-28s %8.2f %8.2f %8.4f\n", HeadName(h), newest_[h].top1, newest_[h].top5,
                            newest_[h].loss);
      json["last_epoch"].push_back({{"features", tec::NameOf(FeaturesOfHead(h))},
                                    {"rate", RateOfHead(h)},
                                    {"top1", newest_[h].top1},
                                    {"top5", newest_[h].top5},
                                    {"loss", newest_[h].loss}});
    }
    if (!options_.quiet) std::fputs(table.c_str(), stdout);
  }
  if (!options_.quiet) {
    std::printf("\nbest: %s, epoch %d (chosen on the held-out images)\n%s", features->c_str(),
                static_cast<int>(state->epoch), FormatReport(report, classes).c_str());
  }
  result_.max_accuracy = report.top1;
  const std::string path = OutputPath("results.json");
  TEC_RETURN_IF_ERROR(WriteFile(path, FormatJson(json)));
  if (!options_.quiet) std::printf("written to %s\n", path.c_str());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LinearRunResult> RunLinear(const LinearRunOptions& options) {
  absl::StatusOr<LinearRunResult> result = LinearRun(options).Run();
  if (absl::IsCancelled(result.status())) {  // Before the first update: there is nothing to save.
    LinearRunResult stopped;
    stopped.stopped = true;
    stopped.max_accuracy = std::numeric_limits<double>::quiet_NaN();
    return stopped;
  }
  return result;
}

}  // namespace tec
