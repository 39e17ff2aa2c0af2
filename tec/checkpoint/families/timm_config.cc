#include "tec/checkpoint/families/timm_config.h"

#include <optional>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/config_entries.h"
#include "tec/checkpoint/families/family.h"

namespace tec {
namespace {

using nlohmann::json;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

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

}  // namespace

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

}  // namespace tec
