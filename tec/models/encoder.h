// The trained encoder, taken out of what trained it: for features (kNN, linear probe) and for finetuning.

#ifndef TEC_MODELS_ENCODER_H_
#define TEC_MODELS_ENCODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "tec/models/encoder_state.h"
#include "tec/models/options.h"
#include "tec/models/vit.h"
#include "tec/nn/attention_pool.h"
#include "tec/nn/module_state.h"
#include "tec/nn/modules.h"

namespace tec {

struct EncoderFeatures {
  // [N, C]: the [CLS] token after the final norm; of an encoder without one what its attention pool gives of the
  // patches; undefined where there is neither.
  at::Tensor cls;
  at::Tensor patch_mean;  // [N, C]: mean over the patch tokens after the final norm.
};

// A ViT without head. State: Vit's, [norm.*], [attn_pool.*].
class Encoder : public Vit {
 public:
  explicit Encoder(const VitOptions& options);

  // images [N, c, S, S], normalised; all patches visible.
  EncoderFeatures forward(const at::Tensor& images);

  // The steps of forward.

  // Outputs [N, 1 + R + L, C] of the last `count` blocks, 1..D, the last block's last; before the final norm.
  std::vector<at::Tensor> LastBlocks(const at::Tensor& images, int64_t count);
  // The final norm, over the last dimension of [..., C]; the tokens themselves where the model has none.
  at::Tensor Normalise(const at::Tensor& tokens) { return norm_ ? norm_->forward(tokens) : tokens; }
  // EncoderFeatures::cls of tokens [N, 1 + R + L, C] after the final norm.
  at::Tensor Class(const at::Tensor& normed);
  // Whether that is defined.
  static bool HasClass(const VitOptions& options) {
    return options.variant.class_token || options.variant.pool_hidden > 0;
  }

 private:
  std::shared_ptr<LayerNorm> norm_;           // Null without one.
  std::shared_ptr<AttentionPool> attn_pool_;  // Null without one.
};

// LoadState of EncoderState(state). A converted encoder (recipe.md section 14) and a classifier with fc_norm have no
// final norm of their own: theirs becomes the plain one, weight 1 and bias 0, which a probe with batch normalisation
// cannot tell from any other.
absl::Status LoadEncoder(Encoder& encoder, const TensorMap& state);
// The same from a file of any known family (vit_plan.h, LoadVit).
absl::Status LoadEncoder(Encoder& encoder, const VitPlan& plan, bool interpolate_positions = false);

// A classifier. (recipe.md section 13.1) State: Vit's, [norm.* without global_pool], head.*, [fc_norm.* with
// global_pool], [cls_token_mlp.* with mlp_token]. Values are unset (the position table, which stays as it is, excepted)
// until InitialiseFinetuning.
class FinetuneModel : public Vit {
 public:
  // Validate(options) must be OK.
  explicit FinetuneModel(const FinetuneOptions& options);

  // images [N, c, S, S], normalised -> logits [N, classes]. drop_path_uniforms F32 [2*D, N] (DropPathUniforms) switches
  // stochastic depth on, for training; without it every branch is used.
  at::Tensor forward(const at::Tensor& images, const at::Tensor& drop_path_uniforms = {});

  // [N, C], the input of the head.
  at::Tensor Pool(const at::Tensor& images, const at::Tensor& drop_path_uniforms = {});

  const FinetuneOptions& options() const { return options_; }

 private:
  FinetuneOptions options_;
  std::vector<double> drop_path_rates_;
  std::shared_ptr<LayerNorm> norm_;  // norm, or with global_pool fc_norm.
  std::shared_ptr<Linear> head_;
  std::shared_ptr<Mlp> cls_token_mlp_;  // Null without mlp_token.
};

// Starts finetuning from a pretrained model's state dict (TEC, MAE, a converted encoder, or a classifier's own): what
// pretraining alone needs is left out by name, a position table of another grid is interpolated, a head of another size
// is left out, and head.* is set anew (truncated normal 2e-5, bias 0). An error that lists everything: any other
// missing, unexpected or mis-shaped tensor; cls_token_mlp in the file while the model has none, or the reverse. On an
// error the model is unchanged. Call InitialiseFinetuning first. `interpolation`: that of the file's family.
absl::Status LoadPretrained(FinetuneModel& model, const TensorMap& state, uint64_t seed,
                            PositionInterpolation interpolation = PositionInterpolation::kPlain);

}  // namespace tec

#endif  // TEC_MODELS_ENCODER_H_
