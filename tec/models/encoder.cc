#include "tec/models/encoder.h"

#include <cmath>

#include "ATen/ops/ones.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/nn/drop_path.h"
#include "tec/nn/initialise.h"
#include "tec/nn/positions.h"

namespace tec {
namespace {

std::shared_ptr<LayerNorm> FinalNorm(const VitOptions& options) {
  return std::make_shared<LayerNorm>(options.width, options.variant.norm_epsilon, options.variant.rms_norm);
}

}  // namespace

Encoder::Encoder(const VitOptions& options) : Vit(options) {
  const VitVariant& variant = options.variant;
  if (variant.final_norm) norm_ = register_module("norm", FinalNorm(options));
  if (variant.pool_hidden > 0) {
    attn_pool_ =
        register_module("attn_pool", std::make_shared<AttentionPool>(options.width, options.heads, variant.pool_hidden,
                                                                     variant.activation, variant.norm_epsilon));
  }
}

EncoderFeatures Encoder::forward(const at::Tensor& images) {
  const at::Tensor x = Normalise(LastBlocks(images, 1).front());
  return {Class(x), Patches(x).mean(1)};
}

at::Tensor Encoder::Class(const at::Tensor& normed) {
  if (options().variant.class_token) return normed.select(1, 0);
  return attn_pool_ ? attn_pool_->forward(Patches(normed)) : at::Tensor();
}

std::vector<at::Tensor> Encoder::LastBlocks(const at::Tensor& images, int64_t count) {
  TEC_CHECK(count >= 1 && count <= options().depth) << count << " of " << options().depth << " blocks";
  std::vector<at::Tensor> outputs;
  ResidualStream stream = {Tokens(images), {}, {}, {}};
  for (int64_t i = 0; i < options().depth; ++i) {
    Block& block = *blocks().blocks[i];
    const Block::Entered entered = block.Enter(stream);
    if (i > options().depth - count) outputs.push_back(entered.x);
    stream = block.Leave(entered);
  }
  outputs.push_back(Sum(stream));
  return outputs;
}

absl::Status LoadEncoder(Encoder& encoder, const TensorMap& state) {
  TEC_ASSIGN_OR_RETURN(TensorMap own, EncoderState(state));
  const bool plain_norm = own.count("norm.weight") == 0 && own.count("norm.bias") == 0;
  if (plain_norm && encoder.options().variant.final_norm) {
    own["norm.weight"] = at::ones({encoder.options().width});
    if (!encoder.options().variant.rms_norm) own["norm.bias"] = at::zeros({encoder.options().width});
  }
  return Annotate(LoadState(encoder, own), "encoder");
}

absl::Status LoadEncoder(Encoder& encoder, const VitPlan& plan, bool interpolate_positions) {
  return Annotate(LoadVit(encoder, plan, /*with_norm=*/true, interpolate_positions), "encoder");
}

FinetuneModel::FinetuneModel(const FinetuneOptions& options)
    : Vit(options.encoder),
      options_(options),
      drop_path_rates_(DropPathRates(options.drop_path, options.encoder.depth)) {
  TEC_CHECK_OK(Validate(options));
  const VitOptions& vit = options.encoder;
  // norm is the encoder's, fc_norm a new one.
  norm_ = options.global_pool ? std::make_shared<LayerNorm>(vit.width) : FinalNorm(vit);
  if (!options.global_pool) register_module("norm", norm_);
  head_ = register_module("head", std::make_shared<Linear>(vit.width, options.classes));
  if (options.global_pool) register_module("fc_norm", norm_);
  if (options.mlp_token) {
    // int(width * mlp_ratio) in the reference, as in the blocks.
    const int64_t hidden = vit.variant.hidden == 0 ? 4 * vit.width : vit.variant.hidden;
    cls_token_mlp_ = register_module("cls_token_mlp", std::make_shared<Mlp>(vit.width, hidden));
  }
}

at::Tensor FinetuneModel::Pool(const at::Tensor& images, const at::Tensor& drop_path_uniforms) {
  const int64_t depth = options_.encoder.depth;
  at::Tensor x = Tokens(images, cls_token_mlp_ ? cls_token_mlp_->forward(cls_token()) : cls_token());
  if (drop_path_uniforms.defined()) {
    TEC_CHECK(drop_path_uniforms.sizes() == at::IntArrayRef({2 * depth, images.size(0)}))
        << "drop path needs uniforms of shape [" << 2 * depth << ", " << images.size(0) << "], not "
        << drop_path_uniforms.sizes();
  }
  const at::Tensor scales =
      drop_path_uniforms.defined() ? DropPathScales(drop_path_uniforms, drop_path_rates_) : at::Tensor();
  ResidualStream stream = {x, {}, {}, {}};
  for (int64_t i = 0; i < depth; ++i) {
    Block& block = *blocks().blocks[i];
    const Block::Entered entered = block.Enter(stream);
    stream = scales.defined() && drop_path_rates_[i] > 0 ? block.Leave(entered, scales[2 * i], scales[2 * i + 1])
                                                         : block.Leave(entered);
  }
  x = Sum(stream);
  return options_.global_pool ? norm_->forward(Patches(x).mean(1)) : norm_->forward(x.select(1, 0));
}

at::Tensor FinetuneModel::forward(const at::Tensor& images, const at::Tensor& drop_path_uniforms) {
  return head_->forward(Pool(images, drop_path_uniforms));
}

absl::Status LoadPretrained(FinetuneModel& model, const TensorMap& state, uint64_t seed,
                            PositionInterpolation interpolation) {
  const FinetuneOptions& options = model.options();
  bool token_mlp_in_file = false;
  TensorMap start;
  for (const auto& [name, tensor] : state) {
    const bool token_mlp = absl::StartsWith(name, "cls_token_mlp.");
    const bool other_norm = options.global_pool ? absl::StartsWith(name, "norm.") : absl::StartsWith(name, "fc_norm.");
    token_mlp_in_file |= token_mlp;
    // The head is set anew below, whatever its size in the file; of an attention pool there is no use here.
    const bool head = absl::StartsWith(name, "head.") || absl::StartsWith(name, "attn_pool.");
    if (!IsPretrainingOnly(name) && !other_norm && !head) start.emplace(name, tensor);
  }
  if (token_mlp_in_file != options.mlp_token) {
    return absl::InvalidArgumentError(
        token_mlp_in_file ? "the checkpoint has cls_token_mlp.*, the model none: finetune it with --mlp_token"
                          : "--mlp_token was given, but the checkpoint has no cls_token_mlp.*: a model pretrained "
                            "without it, or a converted one, is finetuned without --mlp_token");
  }
  const auto positions = start.find("pos_embed");
  if (positions != start.end()) {
    const at::Tensor& table = positions->second;
    const int64_t grid = table.dim() == 3 ? std::lround(std::sqrt(static_cast<double>(table.size(1) - 1))) : 0;
    // Another shape than a square grid with [CLS] is left to LoadState to refuse.
    if (grid > 0 && table.size(0) == 1 && 1 + grid * grid == table.size(1)) {
      positions->second = InterpolatePositions(table.to(at::kFloat), options.encoder.grid(), interpolation);
    }
  }
  // What the file need not have keeps its value; the head's is new. Of a final norm that the file has none of
  // (converted weights, BEiT) that is the plain one, as everywhere else.
  const bool no_norm = start.count("norm.weight") == 0 && start.count("norm.bias") == 0;
  if (no_norm && !options.global_pool) {
    TEC_LOG(WARNING) << "the weights come without a final norm, which the [CLS] token goes through: it begins as a new "
                     << "one, weight 1 and bias 0";
  }
  const NamedTensors own = NamedState(model);
  for (size_t i = 0; i < own.size(); ++i) {
    const auto& [name, tensor] = own[i];
    if (absl::StartsWith(name, "fc_norm.") || (no_norm && absl::StartsWith(name, "norm."))) start.emplace(name, tensor);
    if (name == "head.weight") {
      at::Tensor weight = at::empty(tensor.sizes());
      FillTruncatedNormal(weight, 2e-5, seed, i);
      start.emplace(name, weight);
    }
    if (name == "head.bias") start.emplace(name, at::zeros_like(tensor));
  }
  return Annotate(LoadState(model, start), "finetuning");
}

}  // namespace tec
