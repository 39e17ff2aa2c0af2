#include "tec/checkpoint/families/own_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/plan_builder.h"
#include "tec/checkpoint/token_mlp.h"

namespace tec {
namespace {

// Written into files: never rename.
constexpr const char* kActivations[] = {"gelu", "gelu_tanh", "quick_gelu", "swiglu"};  // In the order of Activation.
constexpr const char* kInterpolations[] = {"plain", "offset", "antialias"};  // In that of PositionInterpolation.

// Far above what models have; products of such sizes do not overflow.
constexpr int64_t kMostOfASize = 1 << 20, kMostOfAGrid = 1 << 12;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

// Each size of a record with the most that it may be.
struct Size {
  const char* name;
  int64_t VitTraits::*field;
  int64_t least, most;
};
constexpr Size kSizes[] = {
    {"width", &VitTraits::width, 1, kMostOfASize},
    {"depth", &VitTraits::depth, 1, kMostOfAGrid},
    {"heads", &VitTraits::heads, 1, kMostOfASize},
    {"hidden", &VitTraits::hidden, 1, kMostOfASize},
    {"patch_size", &VitTraits::patch_size, 1, kMostOfAGrid},
    {"channels", &VitTraits::channels, 1, kMostOfAGrid},
    {"grid", &VitTraits::grid, 1, kMostOfAGrid},
    {"registers", &VitTraits::registers, 0, kMostOfASize},
};

struct Part {
  const char* name;
  bool VitTraits::*field;
};
constexpr Part kParts[] = {
    {"pre_norm", &VitTraits::pre_norm},
    {"relative_positions", &VitTraits::relative_positions},
    {"interpolates_positions", &VitTraits::interpolates_positions},
    {"absolute_positions", &VitTraits::absolute_positions},
    {"class_token", &VitTraits::class_token},
    {"rms_norm", &VitTraits::rms_norm},
    {"patch_norm", &VitTraits::patch_norm},
    {"post_norm", &VitTraits::post_norm},
    {"attention_norm", &VitTraits::attention_norm},
    {"mlp_norm", &VitTraits::mlp_norm},
};

// In the order of tec/nn/rotary.h, in which a plan has them.
Value RecordOf(const RotaryGrid& rotary) {
  Value record = Value::Dict();
  record.Set("shift", Value::Double(rotary.shift));
  record.Set("span", Value::Double(rotary.span));
  record.Set("origin", Value::Double(rotary.origin));
  Value frequencies = Value::List();
  for (double frequency : rotary.frequencies) frequencies.Append(Value::Double(frequency));
  record.Set("frequencies", std::move(frequencies));
  return record;
}

// Of a model whose heads have that width.
absl::StatusOr<RotaryTraits> RotaryOf(const Value& record, int64_t head_width) {
  if (!record.is_dict() || record.entries().size() != 4) return Invalid("rotary is not what this program knows");
  RotaryTraits rotary;
  for (const auto& [name, field] :
       {std::pair("shift", &rotary.shift), std::pair("span", &rotary.span), std::pair("origin", &rotary.origin)}) {
    TEC_ASSIGN_OR_RETURN(*field, record.GetDouble(name));
    if (!std::isfinite(*field)) return Invalid(absl::StrCat("rotary: ", name, " is ", *field));
  }
  TEC_ASSIGN_OR_RETURN(const Value* frequencies, record.Get("frequencies"));
  if (frequencies->kind() != Value::Kind::kList || head_width % 4 != 0 ||
      static_cast<int64_t>(frequencies->items().size()) != head_width / 4) {
    return Invalid(
        absl::StrCat("rotary: heads of width ", head_width, " need a list of a quarter as many frequencies"));
  }
  for (const Value& frequency : frequencies->items()) {
    if (frequency.kind() != Value::Kind::kDouble || !std::isfinite(frequency.double_value())) {
      return Invalid("rotary: a frequency is no finite number");
    }
    rotary.frequencies.push_back(frequency.double_value());
  }
  return rotary;
}

// The number of `name`'s value among `names`.
template <size_t N>
absl::StatusOr<int> Choice(const Value& record, const char* name, const char* const (&names)[N]) {
  TEC_ASSIGN_OR_RETURN(const std::string text, record.GetString(name));
  const auto* const found = std::find(std::begin(names), std::end(names), text);
  if (found == std::end(names)) {
    return Invalid(absl::StrCat(name, " is \"", Printable(text), "\", which this program does not know"));
  }
  return static_cast<int>(found - std::begin(names));
}

absl::StatusOr<OwnEncoder> Parse(const Value& record) {
  if (!record.is_dict()) return Invalid(absl::StrCat("it is ", record.Describe(), ", no dict"));
  OwnEncoder encoder;
  VitTraits& traits = encoder.traits;
  TEC_ASSIGN_OR_RETURN(encoder.family, record.GetString("family"));
  std::set<std::string> known = {"family", "activation", "norm_epsilon", "interpolation", "rotary"};
  for (const Size& size : kSizes) {
    known.insert(size.name);
    TEC_ASSIGN_OR_RETURN(traits.*size.field, record.GetInt(size.name));
    const int64_t value = traits.*size.field;
    if (value < size.least || value > size.most) return Invalid(absl::StrCat(size.name, " is ", value));
  }
  if (traits.width % traits.heads != 0) {
    return Invalid(absl::StrCat(traits.heads, " heads do not divide the width ", traits.width));
  }
  for (const Part& part : kParts) {
    known.insert(part.name);
    TEC_ASSIGN_OR_RETURN(traits.*part.field, record.GetBool(part.name));
  }
  TEC_ASSIGN_OR_RETURN(const int activation, Choice(record, "activation", kActivations));
  traits.activation = static_cast<Activation>(activation);
  TEC_ASSIGN_OR_RETURN(const int interpolation, Choice(record, "interpolation", kInterpolations));
  traits.interpolation = static_cast<PositionInterpolation>(interpolation);
  TEC_ASSIGN_OR_RETURN(traits.norm_epsilon, record.GetDouble("norm_epsilon"));
  if (!std::isfinite(traits.norm_epsilon) || traits.norm_epsilon <= 0) {
    return Invalid(absl::StrCat("norm_epsilon is ", traits.norm_epsilon));
  }
  if (const Value* rotary = record.Find("rotary")) {
    TEC_ASSIGN_OR_RETURN(traits.rotary, RotaryOf(*rotary, traits.width / traits.heads));
  }
  // What a later version says of a model would be lost, and another model read.
  for (const auto& [key, value] : record.entries()) {
    if (key.kind() != Value::Kind::kString || known.count(key.text()) == 0) {
      return Invalid(absl::StrCat("it has \"", key.kind() == Value::Kind::kString ? Printable(key.text()) : "?",
                                  "\", which this program does not know: a later version wrote it"));
    }
  }
  return encoder;
}

// Every tensor of such an encoder, in the order of MAE's state dict; norm.* excepted.
std::vector<std::pair<std::string, Shape>> TensorsOf(const VitTraits& traits) {
  const int64_t width = traits.width, hidden = traits.hidden, patch = traits.patch_size;
  std::vector<std::pair<std::string, Shape>> tensors;
  const auto add = [&tensors](const std::string& name, const Shape& shape) { tensors.emplace_back(name, shape); };
  const auto linear = [&add](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name, int64_t size) {
    add(name + ".weight", {size});
    if (!traits.rms_norm) add(name + ".bias", {size});
  };
  if (traits.class_token) add("cls_token", {1, 1, width});
  if (traits.registers > 0) add("reg_token", {1, traits.registers, width});
  add("pos_embed", {1, 1 + traits.grid * traits.grid, width});
  add("patch_embed.proj.weight", {width, traits.channels, patch, patch});
  add("patch_embed.proj.bias", {width});
  if (traits.patch_norm) norm("patch_norm", width);
  if (traits.pre_norm) norm("norm_pre", width);
  for (int64_t i = 0; i < traits.depth; ++i) {
    const std::string block = absl::StrCat("blocks.", i, ".");
    norm(block + "norm1", width);
    linear(block + "attn.qkv", 3 * width, width);
    if (traits.attention_norm) norm(block + "attn.norm", width);
    linear(block + "attn.proj", width, width);
    if (traits.relative_positions) {
      const int64_t side = 2 * traits.grid - 1;
      add(block + "attn.relative_position_bias_table", {side * side + 3, traits.heads});
    }
    norm(block + "norm2", width);
    linear(block + "mlp.fc1", traits.activation == Activation::kSwiGlu ? 2 * hidden : hidden, width);
    if (traits.mlp_norm) norm(block + "mlp.norm", hidden);
    linear(block + "mlp.fc2", width, hidden);
  }
  return tensors;
}

// In the order of TokenMlp.
constexpr const char* kTokenMlp[] = {"cls_token_mlp.fc1.weight", "cls_token_mlp.fc1.bias", "cls_token_mlp.fc2.weight",
                                     "cls_token_mlp.fc2.bias"};

// Makes of cls_token and the MLP on it, which the plan has, the token that the MLP gives.
void FoldInto(const StateDict& tensors, VitPlan* plan) {
  const TensorView* part[4];
  for (int i = 0; i < 4; ++i) part[i] = tensors.Find(kTokenMlp[i]);
  const TokenMlp parts = {*tensors.Find("cls_token"), *part[0], *part[1], *part[2], *part[3]};
  std::vector<PlannedTensor> rest;
  for (PlannedTensor& planned : plan->tensors) {
    if (absl::StartsWith(planned.name, "cls_token_mlp.")) continue;
    if (planned.name == "cls_token") {
      for (int i = 0; i < 4; ++i) {
        planned.from.push_back(kTokenMlp[i]);
        planned.sources.push_back(*part[i]);
      }
      planned.read = [parts] { return *FoldTokenMlp(parts); };
    }
    rest.push_back(std::move(planned));
  }
  plan->tensors = std::move(rest);
}

bool IsClassifier(absl::string_view name) {
  return name == "head.weight" || name == "head.bias" || name == "fc_norm.weight" || name == "fc_norm.bias";
}

}  // namespace

Value RecordOfEncoder(const OwnEncoder& encoder) {
  const VitTraits& traits = encoder.traits;
  Value record = Value::Dict();
  record.Set("family", Value::String(encoder.family));
  for (const Size& size : kSizes) record.Set(size.name, Value::Int(traits.*size.field));
  for (const Part& part : kParts) record.Set(part.name, Value::Bool(traits.*part.field));
  record.Set("activation", Value::String(kActivations[static_cast<int>(traits.activation)]));
  record.Set("interpolation", Value::String(kInterpolations[static_cast<int>(traits.interpolation)]));
  record.Set("norm_epsilon", Value::Double(traits.norm_epsilon));
  if (traits.rotary) record.Set("rotary", RecordOf(RotaryGridOf(traits)));
  return record;
}

absl::StatusOr<OwnEncoder> EncoderOfRecord(const Value& record) {
  absl::StatusOr<OwnEncoder> encoder = Parse(record);
  if (!encoder.ok()) {
    return Invalid(absl::StrCat("the record of its encoder (\"args\", \"encoder\"): ", encoder.status().message()));
  }
  return encoder;
}

const Value* EncoderRecordIn(const Value& args) { return args.is_dict() ? args.Find(kEncoderRecord) : nullptr; }

const Value* FindEncoderRecord(const Value& root) {
  // Other projects' scripts may have an argument of that name.
  if (!root.is_dict() || root.Find("tec") == nullptr) return nullptr;
  const Value* args = root.Find("args");
  return args == nullptr ? nullptr : EncoderRecordIn(*args);
}

absl::StatusOr<VitPlan> PlanOwnEncoder(const OwnEncoder& encoder, const StateDict& tensors, bool keep_token_mlp) {
  VitPlan plan;
  plan.family = encoder.family;
  plan.traits = encoder.traits;
  plan.traits.final_norm = tensors.Find("norm.weight") != nullptr || tensors.Find("norm.bias") != nullptr;
  std::vector<std::pair<std::string, Shape>> expected = TensorsOf(plan.traits);
  if (plan.traits.final_norm) {
    expected.emplace_back("norm.weight", Shape{plan.traits.width});
    if (!plan.traits.rms_norm) expected.emplace_back("norm.bias", Shape{plan.traits.width});
  }
  const bool token_mlp = tensors.Find(kTokenMlp[0]) != nullptr;
  if (token_mlp) {
    const int64_t width = plan.traits.width, hidden = plan.traits.hidden;
    const Shape shapes[] = {{hidden, width}, {hidden}, {width, hidden}, {width}};
    for (int i = 0; i < 4; ++i) expected.emplace_back(kTokenMlp[i], shapes[i]);
  }
  std::vector<std::string> problems;
  std::set<std::string> taken;
  for (const auto& [name, shape] : expected) {
    taken.insert(name);
    const TensorView* tensor = tensors.Find(name);
    if (tensor == nullptr) {
      problems.push_back(absl::StrCat(name, " is missing"));
    } else if (tensor->shape != shape) {
      problems.push_back(
          absl::StrCat(name, " has shape ", ShapeText(tensor->shape), ", not ", ShapeText(shape), " as recorded"));
    } else {
      const TensorView view = *tensor;
      plan.tensors.push_back({name, shape, {name}, {view}, [view] { return view; }});
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (taken.count(name) != 0) continue;
    plan.left_out.push_back(name);
    if (IsClassifier(name)) {
      TEC_RETURN_IF_ERROR(plan.classifier.Add(name, tensor));
    } else {
      problems.push_back(absl::StrCat(name, " is unexpected"));
    }
  }
  plan.file_tensors = static_cast<int64_t>(tensors.size());
  if (problems.empty() && token_mlp && !keep_token_mlp) FoldInto(tensors, &plan);
  if (problems.empty()) return plan;
  return Invalid(
      absl::StrCat(problems.size(), " tensors do not fit the record of the encoder: ", absl::StrJoin(problems, "; ")));
}

}  // namespace tec
