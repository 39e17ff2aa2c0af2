// A checkpoint as the reference's pretraining writes it, and what the reference's conversion makes of it.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/weight_convert.h"
#include "tec/models/tec_model.h"
#include "tec/optim/parameter_groups.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/model_items.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kTokenTolerance = 1e-6;

// As json.dump() of Python would write it.
nlohmann::json JsonOf(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::kBool:
      return value.bool_value();
    case Value::Kind::kInt:
      return value.int_value();
    case Value::Kind::kDouble:
      return value.double_value();
    case Value::Kind::kList:
    case Value::Kind::kTuple: {
      nlohmann::json list = nlohmann::json::array();
      for (const Value& item : value.items()) list.push_back(JsonOf(item));
      return list;
    }
    case Value::Kind::kDict:
    case Value::Kind::kOrderedDict:
    case Value::Kind::kObject: {
      nlohmann::json dict = nlohmann::json::object();
      for (const auto& [key, item] : value.entries()) {
        dict[key.kind() == Value::Kind::kInt ? absl::StrCat(key.int_value()) : key.text()] = JsonOf(item);
      }
      return dict;
    }
    case Value::Kind::kNone:
      return nullptr;
    case Value::Kind::kString:
      return value.text();
    default:
      return value.Describe();
  }
}

std::vector<std::string> NamesOf(const StateDict& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

// Every tensor against its twin; `computed`: the token of the input adaptor was computed, not read.
void CompareStateDict(GoldenItem& item, GoldenTensors& twin, const StateDict& tensors, bool computed = false) {
  item.Group(absl::StrCat(twin.file(), computed ? " computed *" : " *"));
  for (const auto& [name, tensor] : tensors) {
    const bool token = computed && name == "cls_token";
    if (token) item.Group("");
    item.Compare(twin, name, tensor, token ? GoldenTolerance::Absolute(kTokenTolerance) : GoldenTolerance::Bits());
    if (token) item.Group(absl::StrCat(twin.file(), " computed *"));
  }
  item.Group("");
}

}  // namespace

absl::Status CheckWeightConvert(GoldenItem& item) {
  const std::string folder = "weight_convert/";
  TEC_ASSIGN_OR_RETURN(GoldenJson * contents, item.Json(folder + "contents.json"));
  TEC_ASSIGN_OR_RETURN(GoldenTensors * model_twin, item.Tensors(folder + "pretrain.safetensors"));
  TEC_ASSIGN_OR_RETURN(GoldenTensors * optimizer_twin, item.Tensors(folder + "optimizer.safetensors"));
  TEC_ASSIGN_OR_RETURN(const Value root, ReadPth(item.Path(folder + "pretrain.pth")));
  TEC_ASSIGN_OR_RETURN(const StateDictFile model, SelectStateDict(root, ""));
  CompareStateDict(item, *model_twin, model.tensors);

  // Everything beside the tensors.
  nlohmann::json keys = nlohmann::json::array();
  for (const auto& [key, value] : root.entries()) keys.push_back(key.text());
  const auto compare = [&](const std::string& key, const nlohmann::json& actual) {
    (*contents)[key];
    item.CompareJson(*contents, absl::StrCat("/", key), actual);
  };
  compare("top_level_keys", keys);
  compare("model_keys_in_order", NamesOf(model.tensors));
  for (const char* key : {"epoch", "scaler", "args"}) {
    TEC_ASSIGN_OR_RETURN(const Value* value, root.Get(key));
    compare(key, JsonOf(*value));
  }
  TEC_ASSIGN_OR_RETURN(const Value* optimizer, root.Get("optimizer"));
  TEC_ASSIGN_OR_RETURN(const Value* groups, optimizer->Get("param_groups"));
  TEC_ASSIGN_OR_RETURN(const Value* states, optimizer->Get("state"));
  compare("optimizer_param_groups", JsonOf(*groups));
  StateDict moments;
  for (const auto& [index, entries] : states->entries()) {
    for (const auto& [name, tensor] : entries.entries()) {
      TEC_RETURN_IF_ERROR(moments.Add(absl::StrCat(index.int_value(), ".", name.text()), tensor.tensor()));
    }
  }
  CompareStateDict(item, *optimizer_twin, moments);

  // The order of the optimiser's parameters is that of our groups.
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, model_twin->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(const TecOptions options, TecOptionsOf(config));
  nlohmann::json order = nlohmann::json::array();
  const TecModel ours(options);
  for (const ParameterGroup& group : PretrainingGroups(NamedTrainable(ours), /*weight_decay=*/1)) {
    for (const std::string& name : group.names) order.push_back(name);
  }
  compare("optimizer_parameter_of_index", order);

  TEC_ASSIGN_OR_RETURN(GoldenTensors * converted_twin, item.Tensors(folder + "converted.safetensors"));
  TEC_ASSIGN_OR_RETURN(const StateDictFile converted, ReadStateDict(item.Path(folder + "converted.pth")));
  CompareStateDict(item, *converted_twin, converted.tensors);
  compare("converted_keys_in_order", NamesOf(converted.tensors));
  TEC_ASSIGN_OR_RETURN(const StateDict ours_converted, WeightConvert(model.tensors));
  CompareStateDict(item, *converted_twin, ours_converted, /*computed=*/true);
  compare("converted_keys_in_order", NamesOf(ours_converted));
  compare("converted_is_plain_state_dict", converted.top_level.empty());
  return absl::OkStatus();
}

}  // namespace tec
