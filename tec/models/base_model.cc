#include "tec/models/base_model.h"

#include <cmath>

#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/models/encoder_state.h"
#include "tec/nn/autocast.h"
#include "tec/nn/positions.h"

namespace tec {

BaseModel::BaseModel(const BaseModelOptions& options) : options_(options) {
  TEC_CHECK_OK(Validate(options));
  const VitOptions& vit = options.encoder;
  cls_token_ = register_parameter("cls_token", at::empty({1, 1, vit.width}), /*requires_grad=*/false);
  pos_embed_ = register_parameter("pos_embed", SinCosPositions(vit.width, vit.grid()), /*requires_grad=*/false);
  patch_embed_ =
      register_module("patch_embed", std::make_shared<PatchEmbed>(vit.image_size, vit.patch_size, vit.width));
  blocks_ = register_module("blocks", std::make_shared<BlockList>(vit.depth, vit.width, vit.heads));
  for (at::Tensor& parameter : parameters()) parameter.set_requires_grad(false);
}

at::Tensor BaseModel::Tokens(const at::Tensor& images) {
  const at::Tensor patches = patch_embed_->forward(images);
  return at::cat({cls_token_.expand({patches.size(0), -1, -1}), patches}, 1) + pos_embed_;
}

Targets BaseModel::forward(const at::Tensor& images) {
  at::NoGradGuard no_grad;
  const int64_t depth = options_.encoder.depth, top = options_.top_patches;
  at::Tensor x = Tokens(images);
  at::Tensor sum;  // Over the last J blocks.
  const auto add = [&](int64_t i) {
    if (i < depth - options_.last_layers) return;
    const at::Tensor patches = x.slice(1, 1).to(at::kFloat);
    sum = sum.defined() ? sum + patches : patches;
  };
  for (int64_t i = 0; i + 1 < depth; ++i) {
    x = blocks_->blocks[i]->forward(x);
    add(i);
  }

  Targets targets;
  Block& last = *blocks_->blocks.back();
  const Attention::Projections p = last.attn->Project(last.norm1->forward(x));
  if (top > 0) {
    // The ranking compares values that are often close: float32, whatever the precision of q and k.
    AutocastGuard float32(images.device().type(), at::kFloat);
    const at::Tensor q = p.q.to(at::kFloat), k = p.k.to(at::kFloat).slice(2, 1);  // [N, H, T, d], [N, H, L, d]
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
    const at::Tensor cls_logits = at::matmul(q.slice(2, 0, 1), k.transpose(2, 3)) * scale;  // [N, H, 1, L]
    const at::Tensor rank = cls_logits.squeeze(2).mean(1);                                  // [N, L]
    // Stable, so that equal values give the same patches everywhere.
    const at::Tensor idx = at::argsort(rank, /*stable=*/true, 1, /*descending=*/true).slice(1, 0, top);
    const at::Tensor rows = (idx + 1).view({-1, 1, top, 1}).expand({-1, q.size(1), -1, q.size(3)});
    const at::Tensor logits = at::matmul(q.gather(2, rows), k.transpose(2, 3)) * scale;  // [N, H, K, L]
    targets.relations = at::cat({cls_logits, logits}, 2).transpose(1, 2).unsqueeze(1).contiguous();
    targets.idx = idx.unsqueeze(1).contiguous();
  }
  x = x + last.attn->Attend(p);
  x = x + last.mlp->forward(last.norm2->forward(x));
  add(depth - 1);
  targets.features = sum / static_cast<double>(options_.last_layers);
  return targets;
}

std::vector<at::Tensor> BaseModel::BlockOutputs(const at::Tensor& images) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> outputs;
  at::Tensor x = Tokens(images);
  for (const auto& block : blocks_->blocks) outputs.push_back(x = block->forward(x));
  return outputs;
}

absl::Status LoadBaseModel(BaseModel& model, const TensorMap& state) {
  TEC_ASSIGN_OR_RETURN(TensorMap encoder, EncoderState(state));
  encoder.erase("norm.weight");
  encoder.erase("norm.bias");
  return Annotate(tec::LoadState(model, encoder), "base model");
}

}  // namespace tec
