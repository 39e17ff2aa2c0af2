#include "tec/checkpoint/families/vit_config.h"

#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/small_json.h"

namespace tec {
namespace {

using nlohmann::json;

constexpr double kMaxSize = 1 << 24;
constexpr char kRadio[] = "radio";  // transformers' model_type.

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

absl::Status TakeFlag(const json& object, const char* key, std::optional<bool>* flag) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (!found->is_boolean()) {
    return Invalid(absl::StrCat(key, " is ", Printable(found->dump().substr(0, 100)), ", neither true nor false"));
  }
  *flag = found->get<bool>();
  return absl::OkStatus();
}

// int(width * ratio), as the packages compute it.
absl::StatusOr<int64_t> HiddenOf(int64_t width, double ratio) {
  const double hidden = static_cast<double>(width) * ratio;
  if (hidden > kMaxSize) return Invalid(absl::StrCat("mlp_ratio is ", ratio, ", no such number"));
  return static_cast<int64_t>(hidden);
}

void TakeNumbers(const json& object, const char* key, std::vector<float>* numbers) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array() || found->size() > 64) return;
  for (const json& number : *found) {
    if (number.is_number()) numbers->push_back(number.get<float>());
  }
}

// What transformers' RadioConfig has beside the usual.
absl::Status TakeRadioSizes(const json& config, VitConfig* result) {
  TEC_RETURN_IF_ERROR(TakeSize(config, "max_img_size", &result->table_pixels));
  int64_t classes = 0, registers = 0;
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_cls_tokens", &classes));
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_registers", &registers, /*least=*/0));
  if (config.contains("num_registers") && classes > 0) result->token_rows = classes + registers;
  std::optional<double> ratio;
  TakePositive(config, "mlp_ratio", &ratio);
  const auto gated = config.find("use_swiglu_ffn");
  const bool is_gated = gated != config.end() && gated->is_boolean() && gated->get<bool>();
  if (ratio.has_value() && !is_gated) {
    TEC_ASSIGN_OR_RETURN(result->hidden, HiddenOf(result->width, *ratio));
  }
  return absl::OkStatus();
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
  if (result->model_type == kRadio) TEC_RETURN_IF_ERROR(TakeRadioSizes(config, result));
  TakePositive(config, "rope_theta", &result->rotary_theta);
  const json rope = ObjectIn(config, "rope_parameters");
  TakePositive(rope, "rope_theta", &result->rotary_theta);
  if (const std::string kind = TextIn(rope, "rope_type"); !kind.empty() && kind != "default") {
    return Invalid(absl::StrCat("rope_parameters has rope_type \"", Printable(kind.substr(0, 100)),
                                "\", where only default is known"));
  }
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

// Which arguments of timm's models are told by the tensors, are of heads, or of training alone. What others change
// leaves no trace, and only the architecture's own value of them is known.
bool IsToldByTensors(const std::string& argument) {
  static const auto* known = new std::set<std::string>{"act_layer",
                                                       "attn_drop_rate",
                                                       "attn_pool_mlp_ratio",
                                                       "class_token",
                                                       "depth",
                                                       "drop_path_rate",
                                                       "drop_rate",
                                                       "dynamic_img_pad",
                                                       "dynamic_img_size",
                                                       "embed_dim",
                                                       "fc_norm",
                                                       "final_norm",
                                                       "fix_init",
                                                       "global_pool",
                                                       "head_init_scale",
                                                       "img_size",
                                                       "in_chans",
                                                       "init_values",
                                                       "mlp_ratio",
                                                       "no_embed_class",
                                                       "num_classes",
                                                       "num_heads",
                                                       "num_reg_tokens",
                                                       "patch_drop_rate",
                                                       "patch_size",
                                                       "pos_drop_rate",
                                                       "pos_embed",
                                                       "pre_norm",
                                                       "proj_bias",
                                                       "proj_drop_rate",
                                                       "qk_norm",
                                                       "qkv_bias",
                                                       "qkv_fused",
                                                       "ref_feat_shape",
                                                       "reg_tokens",
                                                       "rope_temperature",
                                                       "scale_attn_inner",
                                                       "scale_mlp",
                                                       "scale_mlp_norm",
                                                       "swiglu_mlp",
                                                       "use_abs_pos_emb",
                                                       "use_fc_norm",
                                                       "use_post_transformer_norm",
                                                       "use_pre_transformer_norm",
                                                       "use_rel_pos_bias",
                                                       "use_shared_rel_pos_bias",
                                                       "weight_init"};
  return known->count(argument) != 0;
}

// Of timm's models, where its config.json leaves to the architecture what the width does not tell.
int64_t HeadsOfTimm(const std::string& architecture) {
  if (architecture == "vit_base_patch16_gap_224") return 16;
  if (absl::StartsWith(architecture, "vit_base_") && absl::StrContains(architecture, "siglip")) return 12;
  return absl::StrContains(architecture, "giantopt") ? 16 : 0;
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
  for (const auto& [key, value] : arguments.items()) {
    if (value.is_null() || IsToldByTensors(key)) continue;
    return Invalid(absl::StrCat("model_args has ", Printable(key.substr(0, 100)),
                                ", of which only the architecture's own value is known"));
  }
  if (const auto norm = arguments.find("qk_norm"); norm != arguments.end() && *norm == true) {
    return Invalid("model_args has qk_norm: norms of queries and keys are not supported");
  }
  TEC_RETURN_IF_ERROR(TakeSize(config, "num_features", &result->width));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "embed_dim", &result->width));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "depth", &result->depth));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "num_heads", &result->heads));
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "in_chans", &result->channels));
  if (result->heads == 0) result->heads = HeadsOfTimm(result->architecture);
  TEC_RETURN_IF_ERROR(TakeSize(arguments, "reg_tokens", &result->registers, /*least=*/0));
  TEC_RETURN_IF_ERROR(TakeSquare(arguments, "patch_size", &result->patch_size));
  TEC_RETURN_IF_ERROR(TakeSizes(pretrained, "input_size", &result->image_height, &result->image_width));
  TEC_RETURN_IF_ERROR(TakeSizes(arguments, "img_size", &result->image_height, &result->image_width));
  std::optional<double> ratio;
  TakePositive(arguments, "mlp_ratio", &ratio);
  if (ratio.has_value()) {
    TEC_ASSIGN_OR_RETURN(result->hidden, HiddenOf(result->width, *ratio));
  }
  TEC_RETURN_IF_ERROR(TakeFlag(arguments, "class_token", &result->class_token));
  TEC_RETURN_IF_ERROR(TakeFlag(arguments, "pre_norm", &result->pre_norm));
  TEC_RETURN_IF_ERROR(TakeFlag(arguments, "qkv_bias", &result->qkv_bias));
  // A factor to begin with; none is no LayerScale, as 0 is.
  if (const auto factor = arguments.find("init_values"); factor != arguments.end() && factor->is_number()) {
    result->layer_scale = factor->get<double>() != 0;
  }
  TakePositive(arguments, "rope_temperature", &result->rotary_theta);
  int64_t reference = 0;
  TEC_RETURN_IF_ERROR(TakeSquare(arguments, "ref_feat_shape", &reference));
  if (reference > 0) result->rotary_span = static_cast<double>(reference);
  TakeNumbers(pretrained, "mean", &result->mean);
  TakeNumbers(pretrained, "std", &result->std);
  result->activation = ActivationOfTimm(result->architecture);
  return TakeActivation(arguments, "act_layer", &result->activation);
}

// NVIDIA's own config.json of (C-)RADIO, whose "args" are those of the training.
absl::Status TakeNvidia(const json& config, VitConfig* result) {
  result->model_type = kRadio;
  TEC_RETURN_IF_ERROR(TakeSize(config, "patch_size", &result->patch_size));
  TEC_RETURN_IF_ERROR(TakeSizes(config, "preferred_resolution", &result->image_height, &result->image_width));
  const json args = ObjectIn(config, "args");
  TEC_RETURN_IF_ERROR(TakeSize(args, "cpe_max_size", &result->table_pixels));
  const auto window = config.find("vitdet_window_size");
  if (window != config.end() && !window->is_null()) {
    return absl::FailedPreconditionError("vitdet_window_size: attention in windows is not supported");
  }
  const json arguments = ObjectIn(args, "model_kwargs");
  for (const auto& [key, value] : arguments.items()) {
    if (value.is_null() || value == false || IsToldByTensors(key)) continue;
    return absl::FailedPreconditionError(absl::StrCat("args.model_kwargs has ", Printable(key.substr(0, 100)),
                                                      ", which leaves no trace in the tensors"));
  }
  return absl::OkStatus();
}

// OpenCLIP's model_cfg: towers of its own, or timm's in it.
absl::Status TakeOpenClip(const json& model, VitConfig* result) {
  const json vision = ObjectIn(model, "vision_cfg");
  TEC_RETURN_IF_ERROR(TakeSizes(vision, "image_size", &result->image_height, &result->image_width));
  result->architecture = TextIn(vision, "timm_model_name");
  if (!result->architecture.empty()) {
    result->heads = HeadsOfTimm(result->architecture);
    result->activation = ActivationOfTimm(result->architecture);
    return absl::OkStatus();
  }
  if (vision.contains("layers") && !vision["layers"].is_number()) return Invalid("vision_cfg is of a ResNet");
  result->architecture = kOpenClipTower;
  TEC_RETURN_IF_ERROR(TakeSize(vision, "width", &result->width));
  TEC_RETURN_IF_ERROR(TakeSize(vision, "layers", &result->depth));
  TEC_RETURN_IF_ERROR(TakeSquare(vision, "patch_size", &result->patch_size));
  int64_t head_width = 64;
  TEC_RETURN_IF_ERROR(TakeSize(vision, "head_width", &head_width));
  result->heads = result->width / head_width;
  std::optional<double> ratio;
  TakePositive(vision, "mlp_ratio", &ratio);
  TEC_ASSIGN_OR_RETURN(result->hidden, HiddenOf(result->width, ratio.value_or(4)));
  TakePositive(ObjectIn(vision, "norm_kwargs"), "eps", &result->norm_epsilon);
  const auto quick = model.find("quick_gelu");
  const std::string approximate = TextIn(ObjectIn(vision, "act_kwargs"), "approximate");
  result->activation = quick != model.end() && quick->is_boolean() && quick->get<bool>() ? Activation::kQuickGelu
                       : approximate == "tanh"                                           ? Activation::kGeluTanh
                                                                                         : Activation::kGelu;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VitConfig> ParseVitConfig(absl::string_view text) {
  TEC_ASSIGN_OR_RETURN(json config, ParseSmallJson(text));
  if (!config.is_object()) return Invalid("no JSON object");
  VitConfig result;
  if (config.contains("architecture")) {
    // Of another code than what is wrong with a file that need not be of a model: ReadVitFile passes over that.
    if (const absl::Status status = TakeTimm(config, &result); !status.ok()) {
      return absl::FailedPreconditionError(status.message());
    }
    return result;
  }
  if (const json model = ObjectIn(config, "model_cfg"); !ObjectIn(model, "vision_cfg").empty()) {
    TEC_RETURN_IF_ERROR(TakeOpenClip(model, &result));
    return result;
  }
  if (ObjectIn(config, "args").contains("cpe_max_size")) {
    TEC_RETURN_IF_ERROR(TakeNvidia(config, &result));
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
  const std::string folder = slash == std::string::npos ? "" : file.substr(0, slash + 1);
  const bool open_clip = absl::StartsWith(file.substr(folder.size()), "open_clip_");
  const std::string path = absl::StrCat(folder, open_clip ? "open_clip_config.json" : "config.json");
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
  // timm's gated MLPs are of widths that are rounded, some to be two thirds of the ratio's.
  if (config.architecture.empty() || config.architecture == kOpenClipTower ||
      traits->activation != Activation::kSwiGlu) {
    check("MLP width", config.hidden, traits->hidden);
  }
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
  const auto compare = [&conflicts](const char* what, std::optional<bool> said, bool own) {
    if (!said.has_value() || *said == own) return;
    conflicts.push_back(absl::StrCat(*said ? "" : "no ", what, " (the tensors have ", own ? "one" : "none", ")"));
  };
  compare("class token", config.class_token, traits->class_token);
  compare("norm before the blocks", config.pre_norm, traits->pre_norm);
  compare("bias of queries, keys and values", config.qkv_bias, traits->qkv_bias);
  compare("LayerScale", config.layer_scale, traits->layer_scale);
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
