// The base model: a frozen ViT that gives the targets. (recipe.md section 2)

#ifndef TEC_MODELS_BASE_MODEL_H_
#define TEC_MODELS_BASE_MODEL_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "tec/models/options.h"
#include "tec/nn/module_state.h"
#include "tec/nn/modules.h"

namespace tec {

struct Targets {
  at::Tensor features;   // [N, L, C]: mean of the patch tokens of the last J block outputs, without norm.
  at::Tensor relations;  // F32 [N, 1, 1+K, H, L]: pre-softmax logits of the last block, queries [CLS] and then the K
                         // selected patches, keys the patches. Undefined if K = 0.
  at::Tensor idx;        // I64 [N, 1, K]: patch numbers, by falling mean (over heads) [CLS] logit. Undefined if K = 0.
};

// State: cls_token, pos_embed, patch_embed.*, blocks.*; all frozen. The final norm and the head of the file it comes
// from play no part in the targets and have no place here. Values are unset until LoadBaseModel.
class BaseModel : public torch::nn::Module {
 public:
  // Validate(options) must be OK.
  explicit BaseModel(const BaseModelOptions& options);

  // images [N, 3, S, S], normalised. No gradient is recorded. Of the last block's T x T logits only the rows needed are
  // computed: that of [CLS] for the ranking, then the selected ones, in float32 also under autocast.
  Targets forward(const at::Tensor& images);

  // Outputs of all D blocks, each [N, T, C]: for tests and for looking at.
  std::vector<at::Tensor> BlockOutputs(const at::Tensor& images);

  const BaseModelOptions& options() const { return options_; }

 private:
  at::Tensor Tokens(const at::Tensor& images);

  BaseModelOptions options_;
  at::Tensor cls_token_, pos_embed_;
  std::shared_ptr<PatchEmbed> patch_embed_;
  std::shared_ptr<BlockList> blocks_;
};

// Fills a base model from the state dict of a plain ViT, of MAE or of TEC (`cls_token_mlp` is then folded into
// cls_token). Everything that is an encoder's and not used here (norm, fc_norm, head, decoders, adaptors, mask tokens)
// is left out by name; anything else missing, unexpected or mis-shaped is an error that lists all of it.
absl::Status LoadBaseModel(BaseModel& model, const TensorMap& state);

}  // namespace tec

#endif  // TEC_MODELS_BASE_MODEL_H_
