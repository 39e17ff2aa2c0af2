#include "tec/train/pretrain_task.h"

#include <algorithm>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/config/settings_record.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/optim/parameter_groups.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/precision.h"
#include "tec/train/base_model_drop.h"
#include "tec/train/further_state.h"

namespace tec {
namespace {

// Beside what the loop writes. Written into files: never rename.
constexpr char kBaseModelChecksum[] = "base_model_checksum";

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

std::string BaseModelPaths(const config::Experiment& experiment) {
  std::vector<std::string> paths;
  for (const config::BaseModel* base : BaseModelsOf(experiment)) paths.push_back(base->path());
  return absl::StrJoin(paths, ", ");
}

}  // namespace

std::string MethodName(const config::Experiment& experiment) {
  return experiment.method() == config::MAE ? "mae" : "tec";
}

absl::Status PretrainTask::OpenData() {
  const config::Data& data = experiment_.data();
  DatasetOptions dataset_options;
  // Nothing here asks for labels, but --classes does.
  dataset_options.labels = !data.classes().empty();
  dataset_options.index_folder = experiment_.logging().output_dir();
  dataset_options.exclude = ParseExclude(data.exclude());
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
  TEC_ASSIGN_OR_RETURN(batches_, TrainingBatches::Make(std::move(dataset), std::make_shared<TrainTransform>(transform),
                                                       data, experiment_.optimizer().batch_size(), experiment_.seed(),
                                                       experiment_.logging().output_dir(), context_));
  plan_ = PlanOf(batches_->loader(), experiment_.optimizer().accum_iter(), context_);
  return absl::OkStatus();
}

absl::StatusOr<EpochPlan> PretrainTask::Open(const LoadedState* resume) {
  TEC_ASSIGN_OR_RETURN(objective_, Objective::Create(experiment_, context_.device()));
  const config::Optimizer& optimizer = experiment_.optimizer();
  for (const torch::nn::Module* model : objective_->models()) {
    ModelUpdate own;
    own.optimizer = std::make_unique<AdamW>(PretrainingGroups(NamedTrainable(*model), optimizer.weight_decay()),
                                            AdamWOptions{optimizer.beta1(), optimizer.beta2(), optimizer.epsilon()});
    own.update = std::make_unique<WeightUpdate>(
        *own.optimizer, WeightUpdate::Options{optimizer.accum_iter(), optimizer.clip_grad(),
                                              experiment_.runtime().precision() == config::FLOAT16, &context_.group()});
    updates_.push_back(std::move(own));
  }
  schedule_.lr = tec::LearningRate(optimizer, context_.group().world_size());
  schedule_.min_lr = experiment_.schedule().min_lr();
  schedule_.warmup_epochs = experiment_.schedule().warmup_epochs();
  schedule_.epochs = static_cast<double>(experiment_.schedule().epochs());
  return plan_;
}

absl::StatusOr<RunPosition> PretrainTask::Load(const LoadedState& resume, std::vector<std::string>* changes) {
  const TrainingState& state = resume.state;
  std::optional<config::Experiment> before;
  if (!state.experiment.empty()) {
    TEC_ASSIGN_OR_RETURN(before, ParseExperiment(state.experiment, absl::StrCat(resume.path, " (its experiment)")));
  }
  const AdamWOptions& adamw = updates_[0].optimizer->options();
  TEC_ASSIGN_OR_RETURN(
      *changes, ChangedSettings(resume, before ? &*before : nullptr, experiment_, ReferenceArguments(experiment_),
                                adamw.beta1, adamw.beta2, adamw.epsilon));
  TEC_ASSIGN_OR_RETURN(RunPosition position, LoadPosition(resume, plan_, loss_names(), changes));
  const auto checksum = state.counters.find(kBaseModelChecksum);
  if (checksum != state.counters.end() && checksum->second != objective_->base_model_checksum()) {
    changes->push_back("the base model's weights are others");
  }
  for (size_t m = 0; m < updates_.size(); ++m) {
    std::optional<TrainingState> further;
    if (m > 0) {
      TEC_ASSIGN_OR_RETURN(further, FurtherState(state, m, updates_[m].optimizer->groups()));
    }
    const TrainingState& own = m == 0 ? state : *further;
    TEC_RETURN_IF_ERROR(Annotate(LoadState(*objective_->models()[m], own.model),
                                 absl::StrCat(resume.path, " is a checkpoint of another model")));
    TEC_RETURN_IF_ERROR(Annotate(LoadOptimizerState(*updates_[m].optimizer, own.optimizer),
                                 absl::StrCat(resume.path, " has the optimizer of another model")));
    LossScaler* scaler = updates_[m].update->scaler();
    if (scaler != nullptr && own.scaler) *scaler = LossScaler(LossScalerStateOf(*own.scaler));
  }
  return position;
}

std::vector<std::string> PretrainTask::Describe() const {
  const auto trainable = [this](size_t model) {
    int64_t count = 0;
    for (const at::Tensor& parameter : updates_[model].optimizer->parameters()) count += parameter.numel();
    return static_cast<double>(count) * 1e-6;
  };
  std::string further;
  for (int i = 0; i < experiment_.further_models_size(); ++i) {
    absl::StrAppendFormat(&further, "; beside it %s, %.1f million", experiment_.further_models(i).label(),
                          trainable(static_cast<size_t>(i) + 1));
  }
  const bool mae = experiment_.method() == config::MAE;
  return {
      absl::StrFormat("%s: %s, %.1f million trainable parameters%s%s", mae ? "MAE" : "TEC", experiment_.model().name(),
                      trainable(0), further, mae ? "" : absl::StrCat(", base model ", BaseModelPaths(experiment_))),
      absl::StrFormat("%s: %d images; %d ranks x %d images x %d micro-steps an update, %d updates an epoch",
                      experiment_.data().path(), plan_.dataset_size, context_.group().world_size(),
                      experiment_.optimizer().batch_size(), plan_.accum_iter, plan_.updates_per_epoch()),
      absl::StrFormat("lr %.3g, %s on %s, results in %s", schedule_.lr,
                      config::Precision_Name(experiment_.runtime().precision()), context_.device().str(),
                      experiment_.logging().output_dir())};
}

std::string PretrainTask::SettingsText() const { return ToText(experiment_); }

ImageCost PretrainTask::Cost() const {
  return {TrainingFlopsPerImage(experiment_), ComputeType(experiment_.runtime().precision())};
}

std::vector<std::string> PretrainTask::DiffersFrom(const std::string& recorded) const {
  const absl::StatusOr<config::Experiment> before = ParseExperiment(recorded, "experiment.textproto");
  return before.ok() ? DifferencesOfRuns(*before, experiment_) : std::vector<std::string>();
}

Objective::Images PretrainTask::ImagesOf(const Batch& batch, int64_t epoch) const {
  const config::Masking& masking = experiment_.masking();
  const auto seed = static_cast<uint64_t>(experiment_.seed()), at = static_cast<uint64_t>(epoch);
  const int64_t epochs = experiment_.schedule().epochs();
  Objective::Images images;
  images.mask_ratio = masking.mask_ratio();
  if (masking.mask_ratio_end() >= 0 && epochs > 1) {
    const double done = std::min(1.0, static_cast<double>(epoch) / static_cast<double>(epochs - 1));
    images.mask_ratio += (masking.mask_ratio_end() - masking.mask_ratio()) * done;
  }
  const int64_t patches = objective_->patches();
  const at::Tensor noise =
      masking.kind() == "block"
          ? BlockMaskingNoise(seed, at, batch.indices,
                              experiment_.model().encoder().image_size() / experiment_.model().encoder().patch_size(),
                              images.mask_ratio)
          : MaskingNoise(seed, at, batch.indices, patches);
  const TrainingBatches::OnDevice sent = batches_->Send(batch, {noise});
  images.pixels = sent.images;
  images.noise = sent.rest[0];
  images.kept = KeptBaseModels(seed, at, batch.indices, 1 + experiment_.further_base_models_size(),
                               experiment_.drop_base_models());
  return images;
}

absl::StatusOr<at::Tensor> PretrainTask::MicroStep(const MicroStepPlace& place) {
  TEC_ASSIGN_OR_RETURN(const Batch* batch, batches_->Next(place.step));
  const Objective::Images images = ImagesOf(*batch, place.epoch);
  if (!place.in_update) {
    // The reference computes a gradient here and throws it away; its loss does count in the epoch's mean.
    at::NoGradGuard no_grad;
    return objective_->Compute(images).parts;
  }
  const Objective::Loss loss = objective_->Compute(images);
  for (size_t m = 0; m < updates_.size(); ++m) updates_[m].update->Backward(loss.totals[m]);
  return loss.parts;
}

absl::StatusOr<UpdateResult> PretrainTask::Update(double lr) {
  // Of all before any of them is changed: an error leaves weights and optimisers as they were.
  for (const auto& [model, update] : updates_) TEC_RETURN_IF_ERROR(update->AverageOverRanks());
  UpdateResult first;
  for (size_t m = 0; m < updates_.size(); ++m) {
    UpdateResult result = updates_[m].update->Finish(lr);
    // A norm that is not finite ends the run, whichever it is of; the one that is logged is the first one's.
    if (m == 0) {
      first = std::move(result);
    } else {
      first.norms.insert(first.norms.end(), result.norms.begin(), result.norms.end());
    }
  }
  return first;
}

absl::Status PretrainTask::FinishEpoch(const RunPosition& position, EpochReport* report) {
  if (const std::optional<double> floor = objective_->TakeRelationFloor()) {
    // Not in log.txt, whose lines are the same however a run was stopped: after a resume this is of the rest of the
    // epoch.
    report->scalars = {{"loss_att_floor", *floor}};
    report->scalars_step = (position.epoch + 1) * 1000;
  }
  if (context_.first_rank()) TEC_RETURN_IF_ERROR(AddFurtherModels(position, report));
  return monitor_ ? AddMonitored(position.epoch, report) : absl::OkStatus();
}

absl::Status PretrainTask::AddMonitored(int64_t epoch, EpochReport* report) {
  const auto values = monitor_(epoch, objective_->model(), context_.group());
  if (!context_.first_rank()) return absl::OkStatus();
  if (!values.ok()) {
    TEC_LOG(WARNING) << "epoch " << epoch << " was not monitored: " << values.status().message();
    return absl::OkStatus();
  }
  std::string line = "monitor:";
  for (const auto& [name, value] : *values) {
    report->more.emplace_back(name, value);
    absl::StrAppendFormat(&line, " %s %.3f", name, value);
  }
  if (!values->empty()) context_.progress().Print(line);
  report->scalars.insert(report->scalars.end(), values->begin(), values->end());
  report->scalars_step = (epoch + 1) * 1000;
  return absl::OkStatus();
}

ReplicatedTensors PretrainTask::Replicated() const {
  ReplicatedTensors replicas;
  for (size_t m = 0; m < updates_.size(); ++m) {
    for (auto& [name, tensor] : ReplicasOf(*objective_->models()[m], *updates_[m].optimizer)) {
      replicas.emplace_back(m == 0 ? name : absl::StrCat(name, " of new model ", m), tensor);
    }
  }
  return replicas;
}

RankFacts PretrainTask::Facts() const {
  RankFacts facts = SettingsByName(experiment_);
  facts.emplace_back("base model's checksum", absl::StrCat(absl::Hex(objective_->base_model_checksum())));
  facts.emplace_back("monitoring by --knn_every", monitor_ == nullptr ? "off" : "on");
  return facts;
}

TrainingState PretrainTask::StateOf(size_t model, const RunPosition& position) const {
  const config::Experiment alone = AloneWithModel(experiment_, static_cast<int64_t>(model));
  const ModelUpdate& own = updates_[model];
  TrainingState state;
  state.model = ViewsOf(NamedState(*objective_->models()[model]));
  state.optimizer = OptimizerStateOf(*own.optimizer, position.lr, /*with_lr_scale=*/false);
  if (own.update->scaler() != nullptr) state.scaler = ScalerStateOf(*own.update->scaler());
  state.args = ReferenceArguments(alone);
  state.method = MethodName(experiment_);
  state.experiment = ToText(WeightDeciding(alone));
  SavePosition(position, plan_, loss_names(), &state);
  state.counters[kBaseModelChecksum] = objective_->base_model_checksum();
  return state;
}

absl::Status PretrainTask::AddFurtherModels(const RunPosition& position, EpochReport* report) const {
  const int64_t period = experiment_.checkpointing().save_period(), epochs = experiment_.schedule().epochs();
  if (position.epoch % period != 0 && position.epoch + 1 != epochs) return absl::OkStatus();
  for (size_t m = 1; m < updates_.size(); ++m) {
    const std::string& label = experiment_.further_models(static_cast<int>(m - 1)).label();
    TEC_RETURN_IF_ERROR(MakeDirectories(absl::StrCat(experiment_.logging().output_dir(), "/", label)));
    TrainingState state = StateOf(m, position);
    // As the loop's own position is when it saves at the end of an epoch.
    state.epoch = position.epoch;
    state.next_micro_step = 0;
    report->states.push_back(
        {std::move(state), {absl::StrCat(label, "/", CheckpointFolder::NumberedName(position.epoch))}});
  }
  return absl::OkStatus();
}

TrainingState PretrainTask::Save(const RunPosition& position) const {
  TrainingState state = StateOf(0, position);
  if (updates_.size() > 1) state.experiment = ToText(WeightDeciding(experiment_));
  for (size_t m = 1; m < updates_.size(); ++m) AddFurtherState(StateOf(m, position), m, &state);
  return state;
}

}  // namespace tec
