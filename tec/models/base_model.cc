#include "tec/models/base_model.h"

#include <cmath>
#include <iterator>
#include <vector>

#include "ATen/ops/cat.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/tensor.h"
#include "ATen/record_function.h"
#include "absl/strings/match.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/models/encoder_state.h"
#include "tec/models/fitted_images.h"
#include "tec/models/frozen_stream.h"
#include "tec/nn/autocast.h"
#include "tec/nn/parallel.h"
#include "tec/nn/product.h"
#include "tec/nn/token_rows.h"

namespace tec {

BaseModel::BaseModel(const BaseModelOptions& options) : Vit(options.encoder), options_(options) {
  TEC_CHECK_OK(Validate(options));
  for (at::Tensor& parameter : parameters()) parameter.set_requires_grad(false);
}

void BaseModel::Renormalise(const Normalisation& given, const Normalisation& own) {
  const size_t channels = options_.encoder.channels;
  TEC_CHECK(!scale_.defined() && given.mean.size() == channels && given.std.size() == channels &&
            own.mean.size() == channels && own.std.size() == channels);
  std::vector<double> scale, shift;
  for (size_t i = 0; i < channels; ++i) {
    const double deviation = own.std[i];
    scale.push_back(given.std[i] / deviation);
    shift.push_back((static_cast<double>(given.mean[i]) - own.mean[i]) / deviation);
  }
  const auto buffer = [&](const char* name, const std::vector<double>& values) {
    const at::Tensor tensor = at::tensor(at::ArrayRef<double>(values), at::kDouble).to(at::kFloat);
    return register_buffer(name, tensor.view({1, -1, 1, 1}));
  };
  scale_ = buffer("input_scale", scale);
  shift_ = buffer("input_shift", shift);
}

at::Tensor BaseModel::Fitted(const at::Tensor& images) const {
  const at::Tensor fitted = FittedImages(images, options_.encoder.image_size);
  if (!scale_.defined()) return fitted;
  AutocastGuard float32(images.device().type(), at::kFloat);
  // Buffers move with the module, these handles do not.
  return fitted.to(at::kFloat) * scale_.to(fitted.device()) + shift_.to(fitted.device());
}

at::ScalarType BaseModel::TypeOfProducts() { return ProductType(blocks().blocks.front()->attn->qkv->weight); }

int64_t BaseModel::ImageParts(const at::Tensor& images) {
  // Parts of a float32 batch would have other last bits than the batch, which runs of before are compared by. Relative
  // positions are kept by who comes first. An observer of operations counts those of a batch.
  if (!images.device().is_cpu() || TypeOfProducts() != at::kBFloat16 || !HasBfloat16Instructions() ||
      options_.encoder.variant.relative_positions || at::in_parallel_region() || at::hasCallbacks()) {
    return 1;
  }
  const int64_t count = images.size(0), threads = at::get_num_threads(), part = (count + threads - 1) / threads;
  // A part of one image has too few rows for products at full speed; a thread that waits for another's last image
  // should not wait for long.
  return part < 2 || (part * threads - count) * 16 > count ? 1 : threads;
}

Targets BaseModel::forward(const at::Tensor& images) {
  const int64_t parts = ImageParts(images);
  if (parts == 1) return TargetsOf(images);
  // Threads that go through the whole model with images of their own meet once, not after each of its products, which
  // LibTorch's libraries do not divide equally.
  RefreshWorkingWeights();
  const at::ScalarType type = TypeOfProducts();
  const std::vector<at::Tensor> chunks = images.tensor_split(parts);
  std::vector<Targets> made(chunks.size());
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    const AutocastGuard autocast(at::kCPU, type);  // A thread's own.
    for (int64_t i = begin; i < end; ++i) made[i] = TargetsOf(chunks[i]);
  });
  const auto joined = [&](at::Tensor Targets::*member) {
    std::vector<at::Tensor> parts_of;
    for (const Targets& part : made) parts_of.push_back(part.*member);
    return parts_of.front().defined() ? at::cat(parts_of) : at::Tensor();
  };
  return {joined(&Targets::features), joined(&Targets::relations), joined(&Targets::idx)};
}

Targets BaseModel::TargetsOf(const at::Tensor& images) {
  at::NoGradGuard no_grad;
  const int64_t depth = options_.encoder.depth, top = options_.top_patches;
  const VitVariant& variant = options_.encoder.variant;
  const int64_t first_patch = variant.prefix();
  BlockList& list = blocks();
  std::vector<at::Tensor> outputs;  // Of the last J blocks but the last one.
  // The output of block i.
  const auto add = [&](int64_t i, const at::Tensor& x) {
    if (i >= depth - options_.last_layers && i >= 0) outputs.push_back(x);
  };
  FrozenStream stream(Tokens(Fitted(images)), variant);
  for (int64_t i = 0; i + 1 < depth; ++i) {
    const Block::Entered entered = stream.Enter(*list.blocks[i]);
    add(i - 1, entered.x);
    stream.Leave(*list.blocks[i], entered);
  }

  Targets targets;
  Block& last = *list.blocks.back();
  const Block::Entered entered = stream.Enter(last);
  add(depth - 2, entered.x);
  const Attention::Projections& p = entered.p;
  if (top > 0) {
    // The ranking compares values that are often close: float32, whatever the precision of q and k.
    AutocastGuard float32(images.device().type(), at::kFloat);
    // Of all queries only those that are needed: exact, as the values are of low precision before.
    // In one piece, as products take it: a copy less for each.
    const at::Tensor keys = p.k.slice(2, first_patch);  // [N, H, L, d]
    const at::Tensor k = at::empty(keys.sizes(), keys.options().dtype(at::kFloat)).copy_(keys);
    const double scale = 1 / std::sqrt(static_cast<double>(k.size(3)));
    const at::Tensor bias = last.attn->RelativeBias(at::kFloat);  // [H, T, T] or undefined
    const at::Tensor first = variant.class_token ? p.q.slice(2, 0, 1).to(at::kFloat)
                                                 : p.q.slice(2, first_patch).to(at::kFloat).mean(2, /*keepdim=*/true);
    at::Tensor cls_logits = at::matmul(first, k.transpose(2, 3)) * scale;  // [N, H, 1, L]
    if (bias.defined()) cls_logits = cls_logits + bias.slice(1, 0, 1).slice(2, first_patch);
    const at::Tensor rank = cls_logits.squeeze(2).mean(1);  // [N, L]
    // Stable, so that equal values give the same patches everywhere.
    const at::Tensor idx = at::argsort(rank, /*stable=*/true, 1, /*descending=*/true).slice(1, 0, top);
    const at::Tensor rows = (idx + first_patch).view({-1, 1, top, 1}).expand({-1, p.q.size(1), -1, p.q.size(3)});
    at::Tensor logits = at::matmul(p.q.gather(2, rows).to(at::kFloat), k.transpose(2, 3)) * scale;  // [N, H, K, L]
    if (bias.defined()) {
      // [H, T, L] -> [N, H, K, L]: the rows of the selected patches.
      const at::Tensor chosen = bias.slice(2, first_patch).index_select(1, (idx + first_patch).flatten());
      logits = logits + chosen.view({bias.size(0), idx.size(0), top, -1}).transpose(0, 1);
    }
    targets.relations = at::cat({cls_logits.transpose(1, 2), logits.transpose(1, 2)}, 1).unsqueeze(1).contiguous();
    targets.idx = idx.unsqueeze(1).contiguous();
  }
  targets.features = MeanOfOutputs(outputs, last.Leave(entered), first_patch).to(at::kFloat);
  return targets;
}

std::vector<at::Tensor> BaseModel::BlockOutputs(const at::Tensor& images) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> outputs;
  at::Tensor x = Tokens(Fitted(images));
  for (const auto& block : blocks().blocks) outputs.push_back(x = block->forward(x));
  return outputs;
}

absl::Status LoadBaseModel(BaseModel& model, const TensorMap& state) {
  TEC_ASSIGN_OR_RETURN(TensorMap encoder, EncoderState(state));
  for (auto item = encoder.begin(); item != encoder.end();) {
    const bool after = absl::StartsWith(item->first, "norm.") || absl::StartsWith(item->first, "attn_pool.");
    item = after ? encoder.erase(item) : std::next(item);
  }
  return Annotate(tec::LoadState(model, encoder), "base model");
}

absl::Status LoadBaseModel(BaseModel& model, const VitPlan& plan, bool interpolate_positions) {
  return Annotate(LoadVit(model, plan, /*with_norm=*/false, interpolate_positions), "base model");
}

}  // namespace tec
