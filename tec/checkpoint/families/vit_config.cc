#include "tec/checkpoint/families/vit_config.h"

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/small_json.h"

namespace tec {
namespace {

using nlohmann::json;

constexpr double kMaxSize = 1 << 24;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

// The entry, which must be an object; an empty one where there is none.
json ObjectIn(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : json::object();
}

std::string TextIn(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

absl::Status TakeSize(const json& object, const char* key, int64_t* size, int64_t least = 1) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (!found->is_number() || found->get<double>() < least || found->get<double>() > kMaxSize ||
      found->get<double>() != static_cast<double>(static_cast<int64_t>(found->get<double>()))) {
    return Invalid(absl::StrCat(key, " is ", Printable(found->dump().substr(0, 100)), ", no such number"));
  }
  *size = static_cast<int64_t>(found->get<double>());
  return absl::OkStatus();
}

// One number for both, or the last two of a list.
absl::Status TakeSizes(const json& object, const char* key, int64_t* height, int64_t* width) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  const json list = found->is_array() ? *found : json::array({*found, *found});
  if (list.size() < 2 || list.size() > 3) return Invalid(absl::StrCat(key, " is no size of images"));
  const json pair = {{"height", list[list.size() - 2]}, {"width", list[list.size() - 1]}};
  TEC_RETURN_IF_ERROR(Annotate(TakeSize(pair, "height", height), key));
  return Annotate(TakeSize(pair, "width", width), key);
}

absl::Status TakeSquare(const json& object, const char* key, int64_t* size) {
  int64_t height = *size, width = *size;
  TEC_RETURN_IF_ERROR(TakeSizes(object, key, &height, &width));
  if (height != width) return Invalid(absl::StrCat(key, " is ", height, " x ", width, ": only squares are known"));
  *size = height;
  return absl::OkStatus();
}

absl::Status TakeActivation(const json& object, const char* key, std::optional<Activation>* activation) {
  const std::string name = TextIn(object, key);
  if (name.empty()) return absl::OkStatus();
  if (name == "gelu") {
    *activation = Activation::kGelu;
  } else if (name == "quick_gelu" || name == "quickgelu") {
    *activation = Activation::kQuickGelu;
  } else if (name == "gelu_pytorch_tanh" || name == "gelu_tanh" || name == "gelu_new") {
    *activation = Activation::kGeluTanh;
  } else {
    return Invalid(absl::StrCat(key, " is \"", Printable(name.substr(0, 100)),
                                "\"; known are gelu, gelu_pytorch_tanh and quick_gelu"));
  }
  return absl::OkStatus();
}

// The entry if it is a positive number.
void TakePositive(const json& object, const char* key, std::optional<double>* number) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_number() && found->get<double>() > 0) *number = found->get<double>();
}

void TakeNumbers(const json& object, const char* key, std::vector<float>* numbers) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array() || found->size() > 64) return;
  for (const json& number : *found) {
    if (number.is_number()) numbers->push_back(number.get<float>());
  }
}

absl::Status TakeHuggingFace(const json& config, VitConfig* result) {
  result->model_type = TextIn(config, "model_type");
  TEC_RETURN_IF_ERROR(TakeSize(config, "hidden_size", &result->width));
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_hidden_layers", &result->depth));
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_attention_heads", &result->heads));
  TEC_RETURN_IF_ERROR(TakeSize(config, "intermediate_size", &result->hidden));
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_channels", &result->channels));
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_register_tokens", &result->registers, /*least=*/0));
  TEC_RETURN_IF_ERROR(TakeSquare(config, "patch_size", &result->patch_size));
  TEC_RETURN_IF_ERROR(TakeSizes(config, "image_size", &result->image_height, &result->image_width));
  TakePositive(config, "layer_norm_eps", &result->norm_epsilon);
  TakePositive(config, "rope_theta", &result->rotary_theta);
  TakePositive(ObjectIn(config, "rope_parameters"), "rope_theta", &result->rotary_theta);
  // With a gated MLP it is the gate's, which is always SiLU.
  const auto gated = config.find("use_swiglu_ffn");
  if (gated != config.end() && gated->is_boolean() && gated->get<bool>()) {
    result->hidden = 0;  // Not the gated one's.
    return absl::OkStatus();
  }
  TakePositive(config, "rms_norm_eps", &result->norm_epsilon);
  const auto gate = config.find("use_gated_mlp");
  if (absl::StartsWith(result->model_type, "aimv2") ||
      (gate != config.end() && gate->is_boolean() && gate->get<bool>())) {
    std::string activation = TextIn(config, "hidden_act");
    // Left out of a config inside another one.
    if (activation.empty() && absl::StartsWith(result->model_type, "aimv2")) activation = "silu";
    if (activation == "silu" || activation == "swish") return absl::OkStatus();
    return Invalid(absl::StrCat("a gated MLP with hidden_act \"", Printable(activation.substr(0, 100)),
                                "\"; the gate that is known is silu"));
  }
  // What equals its class's default is left out of a config inside another one.
  if (result->model_type == "clip" || result->model_type == "clip_vision_model") {
    result->activation = Activation::kQuickGelu;
  }
  if (absl::StartsWith(result->model_type, "siglip")) result->activation = Activation::kGeluTanh;
  return TakeActivation(config, "hidden_act", &result->activation);
}

// Of timm's names alone: QuickGELU is in those of CLIP, GELU by tanh in nothing but the model (vision_transformer.py).
Activation ActivationOfTimm(const std::string& architecture) {
  if (absl::StrContains(architecture, "quickgelu")) return Activation::kQuickGelu;
  for (const char* start : {"vit_base_patch32_siglip_", "vit_giantopt_patch16_siglip_", "vit_so400m_patch16_siglip_",
                            "vit_large_patch16_siglip_512", "vit_large_patch16_siglip_gap_512"}) {
    if (absl::StartsWith(architecture, start)) return Activation::kGeluTanh;
  }
  return Activation::kGelu;
}

absl::Status TakeTimm(const json& config, VitConfig* result) {
  result->architecture = TextIn(config, "architecture");
  const json arguments = ObjectIn(config, "model_args"), pretrained = ObjectIn(config, "pretrained_cfg");
  // Other values than the architecture's own, which no tensor shows.
  for (const char* key : {"rope_type", "rope_grid_offset", "rope_grid_indexing", "rope_rotate_half", "use_rot_pos_emb",
                          "use_post_norm", "norm_layer", "scale_attn_norm", "pool_include_prefix"}) {
    if (const auto found = arguments.find(key); found != arguments.end() && !found->is_null()) {
      // Of another code than what is wrong with a file that need not be timm's: ReadVitFile passes over that.
      return absl::FailedPreconditionError(
          absl::StrCat("model_args has ", key, ", of which only the architecture's own value is known"));
    }
  }
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_features", &result->width));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "embed_dim", &result->width));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "depth", &result->depth));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "num_heads", &result->heads));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "in_chans", &result->channels));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "reg_tokens", &result->registers, /*least=*/0));
  TEC_RETURN_IF_ERROR(TakeSquare(arguments, "patch_size", &result->patch_size));
  TEC_RETURN_IF_ERROR(TakeSizes(pretrained, "input_size", &result->image_height, &result->image_width));
  TEC_RETURN_IF_ERROR(TakeSizes(arguments, "img_size", &result->image_height, &result->image_width));
  TakePositive(arguments, "rope_temperature", &result->rotary_theta);
  int64_t reference = 0;
  TEC_RETURN_IF_ERROR(TakeSquare(arguments, "ref_feat_shape", &reference));
  if (reference > 0) result->rotary_span = static_cast<double>(reference);
  TakeNumbers(pretrained, "mean", &result->mean);
  TakeNumbers(pretrained, "std", &result->std);
  result->activation = ActivationOfTimm(result->architecture);
  return TakeActivation(arguments, "act_layer", &result->activation);
}

}  // namespace

absl::StatusOr<VitConfig> ParseVitConfig(absl::string_view text) {
  TEC_ASSIGN_OR_RETURN(json config, ParseSmallJson(text));
  if (!config.is_object()) return Invalid("no JSON object");
  VitConfig result;
  if (config.contains("architecture")) {
    TEC_RETURN_IF_ERROR(TakeTimm(config, &result));
    return result;
  }
  const json vision = ObjectIn(config, "vision_config");
  if (!vision.empty()) {
    const std::string whole = TextIn(config, "model_type");
    TEC_RETURN_IF_ERROR(TakeHuggingFace(vision, &result));
    if (result.model_type.empty()) result.model_type = whole;
    return result;
  }
  TEC_RETURN_IF_ERROR(TakeHuggingFace(config, &result));
  return result;
}

absl::StatusOr<std::optional<VitConfig>> ReadVitConfigBeside(const std::string& file) {
  const size_t slash = file.rfind('/');
  const std::string path = slash == std::string::npos ? "config.json" : file.substr(0, slash + 1) + "config.json";
  const absl::StatusOr<std::shared_ptr<const MappedFile>> text = MappedFile::Open(path);
  if (absl::IsNotFound(text.status())) return std::optional<VitConfig>();
  TEC_RETURN_IF_ERROR(text.status());
  absl::StatusOr<VitConfig> config = ParseVitConfig((*text)->bytes());
  TEC_RETURN_IF_ERROR(Annotate(config.status(), path));
  config->path = path;
  return std::optional<VitConfig>(*std::move(config));
}

absl::Status TakeConfig(const VitConfig& config, const std::string& file, VitTraits* traits) {
  std::vector<std::string> conflicts;
  const auto check = [&conflicts](const char* what, int64_t said, int64_t own) {
    if (said > 0 && said != own) conflicts.push_back(absl::StrCat(what, " ", said, " (the tensors have ", own, ")"));
  };
  check("width", config.width, traits->width);
  check("depth", config.depth, traits->depth);
  check("MLP width", config.hidden, traits->hidden);
  check("patch size", config.patch_size, traits->patch_size);
  check("channels", config.channels, traits->channels);
  // Rotary positions alone are for any size.
  if (traits->grid > 0 && (traits->absolute_positions || traits->relative_positions)) {
    const int64_t own = traits->grid * traits->patch_size;
    if (config.image_height > 0 && (config.image_height / traits->patch_size != traits->grid ||
                                    config.image_width / traits->patch_size != traits->grid)) {
      conflicts.push_back(absl::StrCat("images of ", config.image_height, " x ", config.image_width,
                                       " (the tensors are for ", own, " x ", own, ")"));
    }
  }
  if (config.registers >= 0 && config.registers != traits->registers) {
    conflicts.push_back(absl::StrCat(config.registers, " registers (the tensors have ", traits->registers, ")"));
  }
  if (traits->heads > 0) {
    check("heads", config.heads, traits->heads);
  } else if (config.heads > 0 && traits->width % config.heads != 0) {
    conflicts.push_back(absl::StrCat(config.heads, " heads (which do not divide the width ", traits->width, ")"));
  }
  if (!conflicts.empty()) {
    return Invalid(absl::StrCat(config.path, " is not of ", file, ": it says ", absl::StrJoin(conflicts, ", "),
                                ". Move it away if it is of another model"));
  }
  if (config.heads > 0) traits->heads = config.heads;
  if (config.norm_epsilon.has_value()) traits->norm_epsilon = *config.norm_epsilon;
  if (traits->rotary.has_value() && traits->rotary->frequencies.empty()) {
    traits->rotary->theta = config.rotary_theta.value_or(traits->rotary->theta);
    traits->rotary->span = config.rotary_span.value_or(traits->rotary->span);
  }
  if (config.activation.has_value() && traits->activation != Activation::kSwiGlu) {
    traits->activation = *config.activation;
  }
  return absl::OkStatus();
}

}  // namespace tec
