#include "tec/models/vit.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/nn/module_state.h"
#include "tec/nn/positions.h"
#include "tec/nn/token_rows.h"

namespace tec {
namespace {

BlockOptions BlockOptionsOf(const VitOptions& options, std::shared_ptr<Rotary> rotary) {
  const VitVariant& variant = options.variant;
  BlockOptions block;
  block.hidden = variant.hidden;
  block.activation = variant.activation;
  block.norm_epsilon = variant.norm_epsilon;
  block.relative_grid = variant.relative_positions ? options.grid() : 0;
  block.rms_norm = variant.rms_norm;
  block.post_norm = variant.post_norm;
  block.attention_norm = variant.attention_norm;
  block.mlp_norm = variant.mlp_norm;
  block.rotary = std::move(rotary);
  return block;
}

}  // namespace

Vit::Vit(const VitOptions& options) : options_(options) {
  const int64_t width = options.width;
  const VitVariant& variant = options.variant;
  const auto norm = [&] { return std::make_shared<LayerNorm>(width, variant.norm_epsilon, variant.rms_norm); };
  if (variant.class_token) cls_token_ = register_parameter("cls_token", at::empty({1, 1, width}));
  if (variant.registers > 0) reg_token_ = register_parameter("reg_token", at::empty({1, variant.registers, width}));
  pos_embed_ = register_parameter("pos_embed", SinCosPositions(width, options.grid()), /*requires_grad=*/false);
  patch_embed_ = register_module(
      "patch_embed", std::make_shared<PatchEmbed>(options.image_size, options.patch_size, width, options.channels));
  if (variant.patch_norm) patch_norm_ = register_module("patch_norm", norm());
  if (variant.pre_norm) norm_pre_ = register_module("norm_pre", norm());
  std::shared_ptr<Rotary> rotary;
  if (!variant.rotary.frequencies.empty()) {
    rotary = register_module("rotary", std::make_shared<Rotary>(variant.rotary, options.grid()));
  }
  blocks_ = register_module("blocks", std::make_shared<BlockList>(options.depth, width, options.heads,
                                                                  BlockOptionsOf(options, std::move(rotary))));
}

at::Tensor Vit::Tokens(const at::Tensor& images, const at::Tensor& cls_token) {
  working_weights_.Refresh(*this);
  at::Tensor x = patch_embed_->forward(images);
  const int64_t count = x.size(0);
  if (patch_norm_) x = patch_norm_->forward(x);
  x = EmbedTokens(cls_token.defined() ? cls_token + pos_embed_.slice(1, 0, 1) : cls_token, x, {}, pos_embed_);
  if (reg_token_.defined()) {
    const int64_t before = cls_token.defined() ? 1 : 0;
    x = at::cat({x.slice(1, 0, before), reg_token_.expand({count, -1, -1}), x.slice(1, before)}, 1);
  }
  return norm_pre_ ? norm_pre_->forward(x) : x;
}

VitVariant VariantOf(const VitTraits& traits) {
  VitVariant variant;
  variant.registers = traits.registers;
  variant.hidden = traits.hidden == 4 * traits.width ? 0 : traits.hidden;
  variant.activation = traits.activation;
  variant.norm_epsilon = traits.norm_epsilon;
  variant.class_token = traits.class_token;
  variant.pool_hidden = traits.pool_hidden;
  variant.rms_norm = traits.rms_norm;
  variant.patch_norm = traits.patch_norm;
  variant.post_norm = traits.post_norm;
  variant.attention_norm = traits.attention_norm;
  variant.mlp_norm = traits.mlp_norm;
  variant.pre_norm = traits.pre_norm;
  variant.relative_positions = traits.relative_positions;
  variant.rotary = RotaryGridOf(traits);
  variant.final_norm = !traits.no_norm;
  return variant;
}

absl::Status CheckFits(const VitTraits& traits, const VitOptions& options, bool interpolate_positions) {
  std::vector<std::string> problems;
  const auto same = [&](const char* what, int64_t file, int64_t model) {
    if (file != model) problems.push_back(absl::StrCat(what, " ", file, " (the experiment says ", model, ")"));
  };
  same("width", traits.width, options.width);
  same("depth", traits.depth, options.depth);
  same("patch size", traits.patch_size, options.patch_size);
  if (traits.heads != 0) same("heads", traits.heads, options.heads);
  if (traits.channels != options.channels) {
    const bool rgb = traits.channels == 3 && options.channels == 1;
    problems.push_back(absl::StrCat(
        "a patch embedding for images of ", traits.channels, " channels (the experiment's have ", options.channels,
        rgb ? ": --channels=3, the default, decodes grey pictures as RGB, which this file can see"
            : absl::StrCat(": --channels must be ", traits.channels, ", or the weights those of a model for ",
                           options.channels, " channels"),
        ")"));
  }
  if (traits.grid != options.grid()) {
    const std::string text = absl::StrCat(traits.grid, " x ", traits.grid, " patches (the experiment says ",
                                          options.grid(), " x ", options.grid(), ")");
    if (traits.relative_positions) {
      problems.push_back(absl::StrCat("relative positions for ", text, ", which are not interpolated"));
    } else if (!interpolate_positions && !traits.interpolates_positions) {
      problems.push_back(absl::StrCat("a position table for ", text, "; --interpolate_positions would fit it"));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the file's ViT has ", absl::StrJoin(problems, ", ")));
}

absl::Status LoadVit(Vit& model, const VitPlan& plan, bool with_norm, bool interpolate_positions) {
  const VitOptions& options = model.options();
  TEC_RETURN_IF_ERROR(CheckFits(plan.traits, options, interpolate_positions));
  const auto ours = [&](const std::string& name) {
    return with_norm || (!absl::StartsWith(name, "norm.") && !absl::StartsWith(name, "attn_pool."));
  };
  std::map<std::string, at::Tensor> own;
  for (const auto& [name, tensor] : NamedState(model)) own.emplace(name, tensor);
  std::vector<std::string> problems;
  std::map<std::string, const PlannedTensor*> planned;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (!ours(tensor.name)) continue;
    planned.emplace(tensor.name, &tensor);
    const auto found = own.find(tensor.name);
    if (found == own.end()) {
      problems.push_back(absl::StrCat(tensor.name, " has no place in the model"));
    } else if (tensor.name != "pos_embed" && found->second.sizes() != at::IntArrayRef(tensor.shape)) {
      problems.push_back(absl::StrCat(tensor.name, " has another shape than the model's"));
    }
  }
  // A file without final norm (converted weights): the plain one.
  const bool plain_norm = with_norm && !plan.traits.final_norm && options.variant.final_norm;
  for (const auto& [name, tensor] : own) {
    if (plain_norm && absl::StartsWith(name, "norm.")) continue;
    if (planned.count(name) == 0) problems.push_back(absl::StrCat(name, " is missing"));
  }
  if (!problems.empty()) return absl::InvalidArgumentError(absl::StrJoin(problems, "; "));

  at::NoGradGuard no_grad;
  if (plain_norm) {
    own["norm.weight"].fill_(1);
    if (own.count("norm.bias") != 0) own["norm.bias"].zero_();
  }
  for (const auto& [name, source] : planned) {
    const TensorView view = source->read();
    if (name == "pos_embed" && plan.traits.grid != options.grid() && plan.positions_at) {
      CopyConverting(plan.positions_at(options.grid()), own[name]);
    } else if (name == "pos_embed" && plan.traits.grid != options.grid()) {
      own[name].copy_(InterpolatePositions(TensorOf(view).to(at::kFloat), options.grid(), plan.traits.interpolation));
    } else {
      CopyConverting(view, own[name]);
    }
  }
  return absl::OkStatus();
}

}  // namespace tec
