#include "tec/checkpoint/families/vit_config.h"

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/config_entries.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/timm_config.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/small_json.h"

namespace tec {
namespace {

using nlohmann::json;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

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
