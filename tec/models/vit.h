// The vision transformer that base models are: patch embedding, tokens, positions and blocks, in the variants that the
// known families have (options.h). Base model and encoder are built on it.

#ifndef TEC_MODELS_VIT_H_
#define TEC_MODELS_VIT_H_

#include <memory>

#include "absl/status/status.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/models/options.h"
#include "tec/nn/modules.h"
#include "tec/nn/working_weights.h"

namespace tec {

// State: [cls_token], [reg_token], pos_embed, patch_embed.*, [patch_norm.*], [norm_pre.*], blocks.*. Values are unset,
// but for the position table (sin-cos; the row of [CLS] is there also without one, and plays no part).
class Vit : public torch::nn::Module {
 public:
  explicit Vit(const VitOptions& options);

  // The blocks' input: images [N, c, S, S], normalised -> [N, 1 + R + L, C]: [CLS], registers, patches; without [CLS]
  // [N, R + L, C].
  at::Tensor Tokens(const at::Tensor& images) { return Tokens(images, cls_token_); }
  // x [N, 1 + R + L, C] -> [N, L, C].
  at::Tensor Patches(const at::Tensor& x) const { return x.slice(1, options_.variant.prefix()); }
  BlockList& blocks() { return *blocks_; }

  const VitOptions& options() const { return options_; }

 protected:
  // With this token [1, 1, C] in the place of the model's own.
  at::Tensor Tokens(const at::Tensor& images, const at::Tensor& cls_token);
  // What Tokens does first. After it, as long as neither weights nor autocast change, it does nothing.
  void RefreshWorkingWeights() { working_weights_.Refresh(*this); }
  // Undefined without [CLS].
  const at::Tensor& cls_token() const { return cls_token_; }

 private:
  VitOptions options_;
  at::Tensor cls_token_, reg_token_, pos_embed_;
  std::shared_ptr<PatchEmbed> patch_embed_;
  std::shared_ptr<LayerNorm> patch_norm_, norm_pre_;
  std::shared_ptr<BlockList> blocks_;
  WorkingWeights working_weights_;
};

// The variant that a file's tensors say it is. With rotary positions ArrangeRotary (vit_plan.h) comes first.
VitVariant VariantOf(const VitTraits& traits);

// Whether the file's ViT is that of `options`: InvalidArgument lists every size that is another. A position table for
// another grid passes only where LoadVit would interpolate it.
absl::Status CheckFits(const VitTraits& traits, const VitOptions& options, bool interpolate_positions);

// Copies the plan's tensors into `model`, one at a time, so that no second copy of the weights is ever in memory.
// Without `with_norm`, norm.* and attn_pool.* are left out; with it, a file that has none gives the plain norm, weight
// 1 and bias 0. A position table of another grid is interpolated (positions.h) if `interpolate_positions`, or if the
// family does so itself; else it is an error. The model is unchanged on an error.
absl::Status LoadVit(Vit& model, const VitPlan& plan, bool with_norm, bool interpolate_positions = false);

}  // namespace tec

#endif  // TEC_MODELS_VIT_H_
