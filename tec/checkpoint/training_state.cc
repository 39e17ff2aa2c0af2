#include "tec/checkpoint/training_state.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pretraining_only.h"
#include "tec/checkpoint/pth.h"

namespace tec {
namespace {

constexpr int64_t kFormatVersion = 1;
// float32 counts exactly up to here.
constexpr int64_t kMaxStep = int64_t{1} << 24;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

Value GroupToValue(const OptimizerGroup& group, int64_t first) {
  // The entries of torch.optim.AdamW's groups in their order.
  Value value = Value::Dict();
  value.Set("weight_decay", Value::Double(group.weight_decay));
  if (group.lr_scale.has_value()) value.Set("lr_scale", Value::Double(*group.lr_scale));
  value.Set("lr", Value::Double(group.lr));
  value.Set("betas", Value::Tuple({Value::Double(group.beta1), Value::Double(group.beta2)}));
  value.Set("eps", Value::Double(group.eps));
  value.Set("amsgrad", Value::Bool(false));
  value.Set("maximize", Value::Bool(false));
  value.Set("foreach", Value::None());
  value.Set("capturable", Value::Bool(false));
  value.Set("differentiable", Value::Bool(false));
  value.Set("fused", Value::None());
  value.Set("decoupled_weight_decay", Value::Bool(true));
  std::vector<Value> parameters;
  for (int64_t i = 0; i < group.num_parameters; ++i) parameters.push_back(Value::Int(first + i));
  value.Set("params", Value::List(std::move(parameters)));
  return value;
}

absl::StatusOr<OptimizerGroup> GroupFromValue(const Value& value, int64_t first) {
  OptimizerGroup group;
  TEC_ASSIGN_OR_RETURN(group.weight_decay, value.GetDouble("weight_decay"));
  TEC_ASSIGN_OR_RETURN(group.lr, value.GetDouble("lr"));
  TEC_ASSIGN_OR_RETURN(group.eps, value.GetDouble("eps"));
  if (value.Find("lr_scale") != nullptr) {
    TEC_ASSIGN_OR_RETURN(const double scale, value.GetDouble("lr_scale"));
    group.lr_scale = scale;
  }
  TEC_ASSIGN_OR_RETURN(const Value* betas, value.Get("betas"));
  if (betas->kind() != Value::Kind::kTuple && betas->kind() != Value::Kind::kList) return Invalid("betas are no pair");
  if (betas->items().size() != 2 || betas->items()[0].kind() != Value::Kind::kDouble ||
      betas->items()[1].kind() != Value::Kind::kDouble) {
    return Invalid("betas are no pair of numbers");
  }
  group.beta1 = betas->items()[0].double_value();
  group.beta2 = betas->items()[1].double_value();
  if (const Value* amsgrad = value.Find("amsgrad");
      amsgrad != nullptr && (amsgrad->kind() != Value::Kind::kBool || amsgrad->bool_value())) {
    return Invalid("amsgrad is on, which this optimiser does not have");
  }
  TEC_ASSIGN_OR_RETURN(const Value* parameters, value.Get("params"));
  if (parameters->kind() != Value::Kind::kList) return Invalid("params is no list");
  for (const Value& parameter : parameters->items()) {
    if (parameter.kind() != Value::Kind::kInt || parameter.int_value() != first + group.num_parameters) {
      return Invalid("params are not numbered through the groups");
    }
    ++group.num_parameters;
  }
  return group;
}

absl::StatusOr<MomentState> MomentsFromValue(const Value& value) {
  MomentState moments;
  TEC_ASSIGN_OR_RETURN(const Value* step, value.Get("step"));
  if (step->kind() == Value::Kind::kInt) {
    moments.step = step->int_value();
  } else if (step->kind() == Value::Kind::kTensor && step->tensor().dtype == DType::kFloat32 &&
             step->tensor().NumElements() == 1) {
    const float number = step->tensor().Values<float>()[0];
    if (!(number >= 0 && number <= kMaxStep) || number != std::floor(number)) {
      return Invalid(absl::StrCat("step ", number, " is no count"));
    }
    moments.step = static_cast<int64_t>(number);
  } else {
    return Invalid(absl::StrCat("step is ", step->Describe()));
  }
  if (moments.step < 0) return Invalid(absl::StrCat("step ", moments.step, " is negative"));
  for (const auto& [name, field] :
       {std::pair("exp_avg", &moments.exp_avg), std::pair("exp_avg_sq", &moments.exp_avg_sq)}) {
    TEC_ASSIGN_OR_RETURN(const Value* tensor, value.Get(name));
    if (tensor->kind() != Value::Kind::kTensor) return Invalid(absl::StrCat(name, " is ", tensor->Describe()));
    *field = tensor->tensor();
  }
  if (moments.exp_avg.shape != moments.exp_avg_sq.shape) {
    return Invalid(
        absl::StrCat("exp_avg is ", Describe(moments.exp_avg), ", exp_avg_sq ", Describe(moments.exp_avg_sq)));
  }
  return moments;
}

absl::StatusOr<OptimizerState> OptimizerFromValue(const Value& value) {
  OptimizerState optimizer;
  TEC_ASSIGN_OR_RETURN(const Value* groups, value.Get("param_groups"));
  if (groups->kind() != Value::Kind::kList) return Invalid("param_groups is no list");
  int64_t count = 0;
  for (const Value& item : groups->items()) {
    absl::StatusOr<OptimizerGroup> group = GroupFromValue(item, count);
    if (!group.ok()) return Annotate(group.status(), absl::StrCat("group ", optimizer.groups.size()));
    count += group->num_parameters;
    optimizer.groups.push_back(*std::move(group));
  }
  TEC_ASSIGN_OR_RETURN(const Value* state, value.Get("state"));
  if (!state->is_dict()) return Invalid("state is no dict");
  for (const auto& [key, item] : state->entries()) {
    if (key.kind() != Value::Kind::kInt || key.int_value() < 0 || key.int_value() >= count) {
      return Invalid(absl::StrCat("state of a parameter that is in no group, of ", count));
    }
    absl::StatusOr<MomentState> moments = MomentsFromValue(item);
    if (!moments.ok()) return Annotate(moments.status(), absl::StrCat("parameter ", key.int_value()));
    optimizer.moments.emplace(key.int_value(), *std::move(moments));
  }
  return optimizer;
}

absl::StatusOr<StateDict> StateDictFromValue(const Value& value) {
  if (!value.is_dict()) return Invalid(absl::StrCat("a ", value.Describe(), ", not a dict of tensors"));
  StateDict tensors;
  for (const auto& [key, item] : value.entries()) {
    if (key.kind() != Value::Kind::kString) return Invalid(absl::StrCat(key.Describe(), " in the place of a name"));
    if (item.kind() != Value::Kind::kTensor) return Invalid(absl::StrCat("\"", key.text(), "\" is ", item.Describe()));
    TEC_RETURN_IF_ERROR(tensors.Add(key.text(), item.tensor()));
  }
  return tensors;
}

absl::Status TecFromValue(const Value& value, TrainingState* state) {
  TEC_ASSIGN_OR_RETURN(const int64_t version, value.GetInt("format_version"));
  if (version != kFormatVersion) {
    return Invalid(absl::StrCat("format version ", version, "; this program reads ", kFormatVersion));
  }
  TEC_ASSIGN_OR_RETURN(state->method, value.GetString("method"));
  TEC_ASSIGN_OR_RETURN(state->experiment, value.GetString("experiment"));
  TEC_ASSIGN_OR_RETURN(state->next_micro_step, value.GetInt("next_micro_step"));
  if (state->next_micro_step < 0) return Invalid("next_micro_step is negative");
  // Files from before this entry have an empty "scaler" instead.
  if (const Value* scaling = value.Find("loss_scaling")) {
    if (scaling->kind() != Value::Kind::kBool) return Invalid("loss_scaling is no bool");
    if (!scaling->bool_value()) state->scaler.reset();
  }
  TEC_ASSIGN_OR_RETURN(const Value* counters, value.Get("counters"));
  TEC_ASSIGN_OR_RETURN(const Value* numbers, value.Get("numbers"));
  TEC_ASSIGN_OR_RETURN(const Value* extra, value.Get("extra"));
  if (!counters->is_dict() || !numbers->is_dict()) return Invalid("counters or numbers are no dict");
  for (const auto& [key, item] : counters->entries()) {
    if (key.kind() != Value::Kind::kString || item.kind() != Value::Kind::kInt) return Invalid("a counter is no int");
    state->counters[key.text()] = item.int_value();
  }
  for (const auto& [key, item] : numbers->entries()) {
    if (key.kind() != Value::Kind::kString || item.kind() != Value::Kind::kDouble)
      return Invalid("a number is no float");
    state->numbers[key.text()] = item.double_value();
  }
  absl::StatusOr<StateDict> tensors = StateDictFromValue(*extra);
  if (!tensors.ok()) return Annotate(tensors.status(), "extra");
  state->extra = *std::move(tensors);
  return absl::OkStatus();
}

// A counter that only files of EncoderOf have. Written into files: never rename.
constexpr char kEncoderOnly[] = "encoder_only";

}  // namespace

Value ToValue(const TrainingState& state) {
  Value moments = Value::Dict();
  {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [index, moment] : state.optimizer.moments) {
      TEC_CHECK_LE(moment.step, kMaxStep);
      Value entry = Value::Dict();
      entry.Set("step", Value::Tensor(TensorView::FromFloats({}, {static_cast<float>(moment.step)})));
      entry.Set("exp_avg", Value::Tensor(moment.exp_avg));
      entry.Set("exp_avg_sq", Value::Tensor(moment.exp_avg_sq));
      entries.emplace_back(Value::Int(index), std::move(entry));
    }
    moments = Value::Entries(Value::Kind::kDict, std::move(entries));
  }
  Value groups = Value::List();
  int64_t first = 0;
  for (const OptimizerGroup& group : state.optimizer.groups) {
    groups.Append(GroupToValue(group, first));
    first += group.num_parameters;
  }
  Value optimizer = Value::Dict();
  optimizer.Set("state", std::move(moments));
  optimizer.Set("param_groups", std::move(groups));

  const ScalerState scaling = state.scaler.value_or(ScalerState());
  Value scaler = Value::Dict();
  scaler.Set("scale", Value::Double(scaling.scale));
  scaler.Set("growth_factor", Value::Double(scaling.growth_factor));
  scaler.Set("backoff_factor", Value::Double(scaling.backoff_factor));
  scaler.Set("growth_interval", Value::Int(scaling.growth_interval));
  scaler.Set("_growth_tracker", Value::Int(scaling.growth_tracker));

  Value counters = Value::Dict(), numbers = Value::Dict();
  for (const auto& [name, count] : state.counters) counters.Set(name, Value::Int(count));
  for (const auto& [name, number] : state.numbers) numbers.Set(name, Value::Double(number));
  Value tec = Value::Dict();
  tec.Set("format_version", Value::Int(kFormatVersion));
  tec.Set("method", Value::String(state.method));
  tec.Set("next_micro_step", Value::Int(state.next_micro_step));
  tec.Set("loss_scaling", Value::Bool(state.scaler.has_value()));
  tec.Set("counters", std::move(counters));
  tec.Set("numbers", std::move(numbers));
  tec.Set("extra", Value::FromStateDict(state.extra));
  tec.Set("experiment", Value::String(state.experiment));
  // For those who look into the file: nothing here reads it.
  tec.Set("version", Value::String(TEC_VERSION));

  Value root = Value::Dict();
  root.Set("model", Value::FromStateDict(state.model));
  root.Set("optimizer", std::move(optimizer));
  root.Set("epoch", Value::Int(state.epoch));
  root.Set("scaler", std::move(scaler));
  root.Set("args", state.args);
  if (!state.model_ema.empty()) root.Set("model_ema", Value::FromStateDict(state.model_ema));
  root.Set("tec", std::move(tec));
  return root;
}

absl::StatusOr<TrainingState> TrainingStateFromValue(const Value& root) {
  TrainingState state;
  TEC_ASSIGN_OR_RETURN(const Value* model, root.Get("model"));
  absl::StatusOr<StateDict> tensors = StateDictFromValue(*model);
  if (!tensors.ok()) return Annotate(tensors.status(), "\"model\"");
  if (tensors->empty()) return Invalid("\"model\" has no tensors");
  state.model = *std::move(tensors);

  TEC_ASSIGN_OR_RETURN(const Value* optimizer, root.Get("optimizer"));
  absl::StatusOr<OptimizerState> optimizer_state = OptimizerFromValue(*optimizer);
  if (!optimizer_state.ok()) return Annotate(optimizer_state.status(), "\"optimizer\"");
  state.optimizer = *std::move(optimizer_state);

  TEC_ASSIGN_OR_RETURN(state.epoch, root.GetInt("epoch"));
  if (state.epoch < -1) return Invalid(absl::StrCat("epoch ", state.epoch));

  TEC_ASSIGN_OR_RETURN(const Value* scaler, root.Get("scaler"));
  if (!scaler->is_dict()) return Invalid(absl::StrCat("\"scaler\" is ", scaler->Describe()));
  if (!scaler->entries().empty()) {
    ScalerState scaling;
    TEC_ASSIGN_OR_RETURN(scaling.scale, scaler->GetDouble("scale"));
    TEC_ASSIGN_OR_RETURN(scaling.growth_factor, scaler->GetDouble("growth_factor"));
    TEC_ASSIGN_OR_RETURN(scaling.backoff_factor, scaler->GetDouble("backoff_factor"));
    TEC_ASSIGN_OR_RETURN(scaling.growth_interval, scaler->GetInt("growth_interval"));
    TEC_ASSIGN_OR_RETURN(scaling.growth_tracker, scaler->GetInt("_growth_tracker"));
    state.scaler = scaling;
  }

  TEC_ASSIGN_OR_RETURN(const Value* args, root.Get("args"));
  if (!args->is_dict() && args->kind() != Value::Kind::kObject) {
    return Invalid(absl::StrCat("\"args\" is ", args->Describe()));
  }
  // A Namespace of the reference becomes the dict it is saved as from here on.
  state.args = Value::Entries(Value::Kind::kDict, args->entries());

  if (const Value* average = root.Find("model_ema"); average != nullptr && average->kind() != Value::Kind::kNone) {
    absl::StatusOr<StateDict> averages = StateDictFromValue(*average);
    if (!averages.ok()) return Annotate(averages.status(), "\"model_ema\"");
    state.model_ema = *std::move(averages);
  }

  if (const Value* tec = root.Find("tec")) {
    TEC_RETURN_IF_ERROR(Annotate(TecFromValue(*tec, &state), "\"tec\""));
  }
  return state;
}

absl::Status SaveTrainingState(const std::string& path, const TrainingState& state) {
  const absl::Status status = WritePth(path, ToValue(state));
  if (!status.ok())
    return Annotate(status, absl::StrCat("cannot save ", path, " (what was there before is unchanged)"));
  return status;
}

absl::StatusOr<TrainingState> LoadTrainingState(const std::string& path) {
  // ReadPth maps the file. What could be read is in the page cache then.
  TEC_RETURN_IF_ERROR(CheckReadable(path));
  TEC_ASSIGN_OR_RETURN(const Value root, ReadPth(path));
  absl::StatusOr<TrainingState> state = TrainingStateFromValue(root);
  if (!state.ok()) {
    // A key that is missing makes a file of another kind, not a file that is missing.
    return Invalid(absl::StrCat(path, " is no training state: ", state.status().message()));
  }
  return state;
}

TrainingState EncoderOf(const TrainingState& state) {
  TrainingState encoder = state;
  encoder.optimizer = OptimizerState();
  encoder.extra = StateDict();
  encoder.scaler.reset();
  encoder.model = StateDict();
  for (const auto& [name, tensor] : state.model) {
    if (!IsPretrainingOnly(name)) TEC_CHECK_OK(encoder.model.Add(name, tensor));
  }
  encoder.counters[kEncoderOnly] = 1;
  return encoder;
}

bool IsEncoderOnly(const TrainingState& state) { return state.counters.count(kEncoderOnly) != 0; }

}  // namespace tec
