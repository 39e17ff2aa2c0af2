#include "absl/strings/str_cat.h"
#include "tec/checkpoint/families/plan_steps.h"

namespace tec {
namespace {

void PlanQkv(const std::string& block, PlanBuilder& builder) {
  const int64_t width = builder.traits().width;
  const auto names = [&block](const char* part, const char* kind) {
    return absl::StrCat(block, "attn.", part, ".", kind);
  };
  const std::string weight = names("qkv", "weight"), bias = names("qkv", "bias"), mask = names("qkv", "bias_mask");
  if (builder.Find(weight) != nullptr || builder.Find(names("q", "weight")) == nullptr) {
    builder.Take(weight, {3 * width, width});
  } else {
    builder.Concatenate(weight, {3 * width, width}, {width, width},
                        {names("q", "weight"), names("k", "weight"), names("v", "weight")});
  }
  const bool apart = builder.Find(names("q", "bias")) != nullptr || builder.Find(names("v", "bias")) != nullptr;
  if (builder.Find(bias) == nullptr && apart) {
    builder.Concatenate(bias, {3 * width}, {width}, {names("q", "bias"), names("k", "bias"), names("v", "bias")},
                        {names("k", "bias")});
  } else if (builder.Find(mask) != nullptr) {
    builder.TakeProduct(bias, {3 * width}, bias, mask);
  } else {
    builder.TakeBias(bias, {3 * width});
  }
}

void PlanMlp(const std::string& block, PlanBuilder& builder) {
  const VitTraits& traits = builder.traits();
  const int64_t width = traits.width, hidden = traits.hidden;
  if (builder.Find(block + "mlp.gate.weight") != nullptr) {
    builder.Concatenate(block + "mlp.fc1.weight", {2 * hidden, width}, {hidden, width},
                        {block + "mlp.gate.weight", block + "mlp.up.weight"});
    const std::string gate = block + "mlp.gate.bias", up = block + "mlp.up.bias";
    if (builder.Find(gate) == nullptr && builder.Find(up) == nullptr) {
      builder.TakeBias(block + "mlp.fc1.bias", {2 * hidden}, gate);
    } else {
      builder.Concatenate(block + "mlp.fc1.bias", {2 * hidden}, {hidden}, {gate, up});
    }
  } else if (builder.Find(block + "mlp.up.weight") != nullptr) {
    builder.Take(block + "mlp.fc1.weight", {hidden, width}, block + "mlp.up.weight");
    builder.TakeBias(block + "mlp.fc1.bias", {hidden}, block + "mlp.up.bias");
  } else {
    const int64_t rows = traits.activation == Activation::kSwiGlu ? 2 * hidden : hidden;
    builder.Take(block + "mlp.fc1.weight", {rows, width});
    builder.TakeBias(block + "mlp.fc1.bias", {rows});
  }
  if (traits.mlp_norm) builder.TakeNorm(block + "mlp.norm", hidden);
  builder.TakeScaled(block + "mlp.fc2", hidden, block + "ls2.gamma");
}

}  // namespace

void PlanBlock(const std::string& block, PlanBuilder& builder) {
  const VitTraits& traits = builder.traits();
  builder.TakeNorm(block + "norm1", traits.width);
  PlanQkv(block, builder);
  if (traits.attention_norm) builder.TakeNorm(block + "attn.norm", traits.width);
  builder.TakeScaled(block + "attn.proj", traits.width, block + "ls1.gamma");
  if (traits.relative_positions) {
    const int64_t side = 2 * traits.grid - 1;
    const std::string own = block + "attn.relative_position_bias_table";
    builder.Take(own, {side * side + 3, traits.heads}, builder.Find(own) == nullptr ? kSharedRelativeTable : own);
  }
  builder.TakeNorm(block + "norm2", traits.width);
  PlanMlp(block, builder);
}

}  // namespace tec
