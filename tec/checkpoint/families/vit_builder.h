// Small vision transformers of tests, as the tensors of a file.

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_BUILDER_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_BUILDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

using Shape = std::vector<int64_t>;

inline constexpr int64_t kWidth = 4, kDepth = 2, kGrid = 3, kPatch = 2;

// A state dict, tensor by tensor.
class Builder {
 public:
  // Every element another number, so that a tensor in the wrong place shows.
  Builder& Add(const std::string& name, const Shape& shape) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(next_++ / 64.0f);
    EXPECT_TRUE(tensors_.Add(name, TensorView::FromFloats(shape, values)).ok()) << name;
    return *this;
  }
  Builder& Linear(const std::string& name, int64_t out, int64_t in) {
    return Add(name + ".weight", {out, in}).Add(name + ".bias", {out});
  }
  Builder& Norm(const std::string& name) { return Add(name + ".weight", {kWidth}).Add(name + ".bias", {kWidth}); }

  const StateDict& tensors() const { return tensors_; }

 private:
  StateDict tensors_;
  int next_ = 1;
};

// The blocks of a ViT under timm's names.
inline Builder& AddBlocks(Builder& builder, const std::string& prefix) {
  for (int64_t i = 0; i < kDepth; ++i) {
    const std::string block = absl::StrCat(prefix, "blocks.", i, ".");
    builder.Norm(block + "norm1")
        .Linear(block + "attn.qkv", 3 * kWidth, kWidth)
        .Linear(block + "attn.proj", kWidth, kWidth);
    builder.Norm(block + "norm2")
        .Linear(block + "mlp.fc1", 4 * kWidth, kWidth)
        .Linear(block + "mlp.fc2", kWidth, 4 * kWidth);
  }
  return builder;
}

// A plain ViT under timm's names, with a final norm.
inline Builder Plain(const std::string& prefix = "", int64_t rows = 1 + kGrid * kGrid, int64_t channels = 3) {
  Builder builder;
  builder.Add(prefix + "cls_token", {1, 1, kWidth}).Add(prefix + "pos_embed", {1, rows, kWidth});
  builder.Add(prefix + "patch_embed.proj.weight", {kWidth, channels, kPatch, kPatch});
  builder.Add(prefix + "patch_embed.proj.bias", {kWidth});
  AddBlocks(builder, prefix).Norm(prefix + "norm");
  return builder;
}

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_BUILDER_H_
