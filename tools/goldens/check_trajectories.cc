// Training over some updates: base model, new model, losses, parameter groups, schedule, accumulation, AdamW together;
// and the same for finetuning.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ops/stack.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "eval/finetune/finetune_step.h"
#include "eval/finetune/mix_batch.h"
#include "tec/base/status.h"
#include "tec/config/experiment.pb.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"
#include "tec/models/tec_model.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"
#include "tec/optim/parameter_groups.h"
#include "tec/optim/schedule.h"
#include "tec/train/objective.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/mixing.h"
#include "tools/goldens/model_items.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kLossTolerance = 1e-5;
constexpr double kParameterTolerance = 1e-5;
constexpr double kLrTolerance = 1e-15;
constexpr double kTargetTolerance = 1e-6;
// A group's rate is a product of two numbers, and is rounded once more.
constexpr double kScaledLrTolerance = 4e-16 + kLrTolerance;
// The norm is float32's over a sum of ten thousand squares and more.
constexpr double kNormTolerance = 1e-5;
// A mean of gradients is as exact as a gradient; of squares, which are smaller, more so.
constexpr double kMomentTolerance = 3e-6;

void CompareLog(GoldenItem& item, GoldenTensors& file, const std::string& name, const std::vector<double>& values,
                const GoldenTolerance& tolerance) {
  item.Compare(file, name, DoublesOf(values), tolerance);
}

AdamWOptions AdamWOptionsOf(const nlohmann::json& recipe) {
  return {recipe.at("betas").at(0), recipe.at("betas").at(1), recipe.at("eps")};
}

// The tensors of "after<k>.<name>", by k.
std::map<int64_t, std::vector<std::string>> NamesAfterUpdates(const GoldenTensors& file) {
  constexpr absl::string_view kAfter = "after";
  std::map<int64_t, std::vector<std::string>> names;
  for (const std::string& name : file.Names(std::string(kAfter))) {
    const size_t dot = name.find('.');
    int64_t updates;
    if (dot != std::string::npos &&
        absl::SimpleAtoi(absl::string_view(name).substr(kAfter.size(), dot - kAfter.size()), &updates)) {
      names[updates].push_back(name.substr(dot + 1));
    }
  }
  return names;
}

}  // namespace

absl::Status CheckPretrainTrajectory(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json recipe, file->Metadata("recipe"));
  TEC_ASSIGN_OR_RETURN(const TecOptions options, TecOptionsOf(config));
  TEC_ASSIGN_OR_RETURN(const BaseModelOptions base_options,
                       BaseModelOptionsOf(config, "teacher_depth", config.at("last_layers"),
                                          options.pred_att ? config.at("topk").get<int64_t>() : 0));
  TEC_RETURN_IF_ERROR(ValidatePair(base_options, options));
  auto base_model = std::make_shared<BaseModel>(base_options);
  TEC_ASSIGN_OR_RETURN(const TensorMap base_state, InputsWithPrefix(*file, "teacher."));
  TEC_RETURN_IF_ERROR(LoadBaseModel(*base_model, base_state));
  auto model = std::make_shared<TecModel>(options);
  TEC_ASSIGN_OR_RETURN(const TensorMap initial, InputsWithPrefix(*file, "init."));
  TEC_RETURN_IF_ERROR(LoadState(*model, initial));

  config::Experiment experiment;
  experiment.mutable_masking()->set_mask_ratio(config.at("mask_ratio"));
  experiment.mutable_losses()->set_att_tau(config.at("att_tau"));
  experiment.mutable_losses()->set_feature_weight(1);
  experiment.mutable_losses()->set_relation_weight(1);
  experiment.mutable_runtime()->set_precision(item.bfloat16() ? config::BFLOAT16 : config::FLOAT32);
  const std::unique_ptr<Objective> objective = Objective::ForTec(experiment, at::kCPU, {base_model}, {model});

  const NamedTensors trainable = NamedTrainable(*model);
  AdamW optimizer(PretrainingGroups(trainable, config.at("weight_decay")), AdamWOptionsOf(recipe));
  if (file->HasMetadata("weight_decay_by_name")) {
    TEC_ASSIGN_OR_RETURN(const nlohmann::json stored, file->Metadata("weight_decay_by_name"));
    nlohmann::json decay = nlohmann::json::object();
    for (const ParameterGroup& group : optimizer.groups()) {
      for (const std::string& name : group.names) decay[name] = group.weight_decay;
    }
    const nlohmann::json difference = nlohmann::json::diff(stored, decay);
    item.Expect("weight_decay_by_name", difference.empty(), difference.dump());
  }

  const ScheduleOptions schedule = {config.at("lr"), config.at("min_lr"), recipe.at("warmup_epochs"),
                                    recipe.at("epochs")};
  const int64_t epochs = recipe.at("epochs"), steps = recipe.at("micro_batches_per_epoch");
  const int64_t accum = recipe.at("accum_iter"), updates_per_epoch = accum > 0 ? steps / accum : 0;
  if (epochs < 1 || updates_per_epoch < 1) return absl::InvalidArgumentError("the recipe has no update");
  const int64_t size = options.encoder.image_size;
  TEC_ASSIGN_OR_RETURN(const at::Tensor images,
                       InputTensor(*file, "in.images", DType::kFloat16, {epochs * steps, -1, 3, size, size}));
  TEC_ASSIGN_OR_RETURN(
      const at::Tensor noise,
      InputTensor(*file, "in.noise", DType::kFloat32, {epochs * steps, images.size(1), options.encoder.patches()}));

  std::map<std::string, std::vector<double>> log;
  const std::map<int64_t, std::vector<std::string>> after = NamesAfterUpdates(*file);
  double lr = 0, sum_of_lr = 0;
  int64_t update = 0;
  for (int64_t i = 0; i < epochs * steps; ++i) {
    const int64_t epoch = i / steps, step = i % steps;
    // What an odd micro-batch at an epoch's end has left is thrown away.
    if (step == 0) optimizer.ZeroGrad();
    if (step % accum == 0) lr = LearningRate(schedule, static_cast<double>(step) / steps + epoch);
    const Objective::Loss loss = objective->Compute(images[i].to(at::kFloat), noise[i]);
    (loss.total() / static_cast<double>(accum)).backward();
    for (size_t part = 0; part < objective->loss_names().size(); ++part) {
      const std::string& name = objective->loss_names()[part];
      log[name == "loss" ? "loss_total" : name].push_back(loss.parts[part].item<double>());
    }
    log["lr"].push_back(lr);
    if ((step + 1) % accum != 0) continue;

    log["grad_norm"].push_back(GradientNorm(optimizer.parameters()).item<double>());
    optimizer.Step(lr);
    optimizer.ZeroGrad();
    sum_of_lr += lr;
    ++update;
    const auto found = after.find(update);
    if (found == after.end()) continue;
    for (const std::string& name : found->second) {
      const at::Tensor* value = nullptr;
      for (const auto& [own, tensor] : trainable) {
        if (own == name) value = &tensor;
      }
      if (value == nullptr) continue;  // Left unread, and reported as that.
      Compare(item, *file, absl::StrCat("after", update, ".", name), *value, item.Model(kParameterTolerance),
              SkipKeyBias(name, value->size(0)));
    }
  }
  item.Expect("optimizer_steps", update == recipe.at("optimizer_steps").get<int64_t>(),
              absl::StrCat(update, " updates were made, not ", recipe.at("optimizer_steps").dump()));
  for (const auto& [name, values] : log) {
    if (name == "lr") {
      CompareLog(item, *file, "log.lr", values, GoldenTolerance::Relative(kLrTolerance));
    } else if (name == "grad_norm") {
      CompareLog(item, *file, "log.grad_norm", values,
                 item.bfloat16() ? item.Model(0) : GoldenTolerance::Relative(kNormTolerance));
    } else {
      CompareLog(item, *file, "log." + name, values, item.Model(kLossTolerance));
      if (file->Has("log64." + name)) CompareLog(item, *file, "log64." + name, values, item.Model(kLossTolerance));
    }
  }
  CompareFinalValues(item, *file, "final.", trainable, initial, kParameterTolerance, sum_of_lr);

  // Moments, in the optimiser's order.
  size_t index = 0;
  for (const ParameterGroup& group : optimizer.groups()) {
    for (const std::string& name : group.names) {
      const AdamWState& state = optimizer.state()[index++];
      // The gradient of a key bias is the same noise, but small: its mean is compared, of that no direction is asked.
      const GoldenSkip skip = item.bfloat16() ? SkipKeyBias(name, state.exp_avg.size(0)) : nullptr;
      for (const auto& [moment, tensor] :
           {std::pair("final_exp_avg.", state.exp_avg), std::pair("final_exp_avg_sq.", state.exp_avg_sq)}) {
        if (file->Has(moment + name)) {
          Compare(item, *file, moment + name, tensor, item.Model(kMomentTolerance), skip);
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFinetuneTrajectory(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json recipe, file->Metadata("recipe"));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json mixing, file->Metadata("mixing"));
  TEC_ASSIGN_OR_RETURN(const FinetuneOptions options, FinetuneOptionsOf(config));
  FinetuneModel model(options);
  TEC_ASSIGN_OR_RETURN(const TensorMap initial, InputsWithPrefix(*file, "init."));
  TEC_RETURN_IF_ERROR(LoadState(model, initial));
  const NamedTensors trainable = NamedTrainable(model);
  AdamW optimizer(
      FinetuningGroups(trainable, options.encoder.depth, recipe.at("weight_decay"), recipe.at("layer_decay")),
      AdamWOptionsOf(recipe));
  FinetuneStepOptions step_options;
  step_options.accum_iter = recipe.at("accum_iter");
  step_options.smoothing = recipe.at("smoothing");
  if (recipe.contains("clip_grad") && !recipe.at("clip_grad").is_null()) step_options.clip_grad = recipe["clip_grad"];
  step_options.precision = item.bfloat16() ? at::kBFloat16 : at::kFloat;
  FinetuneStep step(model, optimizer, step_options);

  const ScheduleOptions schedule = {recipe.at("lr"), recipe.at("min_lr"), recipe.at("warmup_epochs"),
                                    recipe.at("epochs")};
  const int64_t steps_per_epoch = recipe.at("steps_per_epoch"), accum = step_options.accum_iter;
  const int64_t steps = steps_per_epoch * recipe.at("epochs").get<int64_t>();
  if (accum < 1 || steps < accum) return absl::InvalidArgumentError("the recipe has no update");
  const int64_t size = options.encoder.image_size;
  TEC_ASSIGN_OR_RETURN(const at::Tensor images,
                       InputTensor(*file, "in.images", DType::kFloat16, {steps, -1, 3, size, size}));
  const int64_t batch = images.size(1);
  TEC_ASSIGN_OR_RETURN(const at::Tensor labels, InputTensor(*file, "in.labels", DType::kInt64, {steps, batch}));
  if (batch % 2 != 0 || labels.min().item<int64_t>() < 0 || labels.max().item<int64_t>() >= options.classes) {
    return absl::InvalidArgumentError("in.labels are no labels of an even batch");
  }
  if (static_cast<int64_t>(mixing.size()) != steps) {
    return absl::InvalidArgumentError(absl::StrCat(mixing.size(), " mixings are given for ", steps, " steps"));
  }

  double min_scale = 1, max_scale = 0;
  for (const ParameterGroup& group : optimizer.groups()) {
    min_scale = std::min(min_scale, group.lr_scale);
    max_scale = std::max(max_scale, group.lr_scale);
  }
  std::map<std::string, std::vector<double>> log;
  std::vector<at::Tensor> soft_targets;
  double lr = 0, sum_of_lr = 0;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t in_epoch = i % steps_per_epoch;
    if (in_epoch == 0) optimizer.ZeroGrad();
    if (in_epoch % accum == 0) lr = LearningRate(schedule, static_cast<double>(i) / steps_per_epoch);
    log["lr_max"].push_back(lr * max_scale);
    log["lr_min"].push_back(lr * min_scale);
    TEC_ASSIGN_OR_RETURN(const Mix mix,
                         MixOf(mixing.at(i).at(0), mixing.at(i).at(1), static_cast<int>(size), static_cast<int>(size)));
    const at::Tensor mixed = MixImages(images[i].to(at::kFloat), {mix});
    soft_targets.push_back(MixTargets(labels[i], options.classes, step_options.smoothing, {mix}));
    log["loss"].push_back(step.Accumulate(mixed, soft_targets.back(), {}).item<double>());
    if ((in_epoch + 1) % accum != 0) continue;
    const UpdateResult update = step.Finish(lr).Read();
    if (update.skipped) item.Fail("update", absl::StrCat("number ", i, " was skipped: its gradient is not finite"));
    log["grad_norm"].push_back(*update.grad_norm);
    sum_of_lr += lr * max_scale;
  }
  Compare(item, *file, "soft_targets", at::stack(soft_targets), GoldenTolerance::Absolute(kTargetTolerance));
  CompareLog(item, *file, "log.lr_max", log["lr_max"], GoldenTolerance::Relative(kLrTolerance));
  CompareLog(item, *file, "log.lr_min", log["lr_min"], GoldenTolerance::Relative(kScaledLrTolerance));
  CompareLog(item, *file, "log.loss", log["loss"], item.Model(kLossTolerance));
  if (file->Has("log64.loss")) CompareLog(item, *file, "log64.loss", log["loss"], item.Model(kLossTolerance));
  CompareLog(item, *file, "log.grad_norm", log["grad_norm"],
             item.bfloat16() ? item.Model(0) : GoldenTolerance::Relative(kNormTolerance));
  CompareFinalValues(item, *file, "final.", trainable, initial, kParameterTolerance, sum_of_lr);
  return absl::OkStatus();
}

}  // namespace tec
