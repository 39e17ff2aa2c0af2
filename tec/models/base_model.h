// The base model: a frozen ViT that gives the targets. (recipe.md section 2) Of the tokens beside [CLS] and patches
// that some have (registers) no target is made, as queries or as keys.
//
// Where the model has no [CLS] token (SigLIP, I-JEPA, AIMv2), the mean of its patches' queries takes the place of that
// token's query. Its row is the mean of the other rows' logits: of the same layer and the same scale as the relations
// beside it, and there in every such model. The query of an attention pool, which SigLIP has, is neither: it belongs to
// a layer after the last block, looks at normed tokens, and many files leave it out.

#ifndef TEC_MODELS_BASE_MODEL_H_
#define TEC_MODELS_BASE_MODEL_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "tec/models/options.h"
#include "tec/models/vit.h"
#include "tec/nn/module_state.h"

namespace tec {

struct Targets {
  at::Tensor features;   // [N, L, C]: mean of the patch tokens of the last J block outputs, without norm.
  at::Tensor relations;  // F32 [N, 1, 1+K, H, L]: pre-softmax logits of the last block, queries [CLS] (or the mean) and
                         // then the K selected patches, keys the patches. Undefined if K = 0.
  at::Tensor idx;        // I64 [N, 1, K]: patch numbers, by falling mean (over heads) [CLS] logit. Undefined if K = 0.
};

// A pixel x in [0, 1] of channel i is seen as (x - mean[i]) / std[i].
struct Normalisation {
  std::vector<float> mean, std;
};

// State: Vit's, all frozen. The final norm and the head of the file it comes from play no part in the targets and have
// no place here. Values are unset until LoadBaseModel.
class BaseModel : public Vit {
 public:
  // Validate(options) must be OK.
  explicit BaseModel(const BaseModelOptions& options);

  // images [N, c, S, S], normalised; of another size than the model's they are resized to it (bicubic, antialiased). No
  // gradient is recorded. A relative position bias is part of the logits. Of the last block's T x T logits only the
  // rows needed are computed: that of [CLS] for the ranking, then the selected ones, in float32 also under autocast.
  // Under autocast to bfloat16, on a CPU with AVX-512, each thread takes some of the images where they divide evenly,
  // or nearly so, into two or more for each, there are no relative positions and nobody observes the operations. The
  // last bits then depend on the number of threads.
  Targets forward(const at::Tensor& images);

  // From here on the images of forward and BlockOutputs are those that `given` normalised, and the model sees them as
  // `own` would. Both with a number for each channel. Called once at most; what is equal in both should not be.
  void Renormalise(const Normalisation& given, const Normalisation& own);

  // Outputs of all D blocks, each [N, 1 + R + L, C]: for tests and for looking at.
  std::vector<at::Tensor> BlockOutputs(const at::Tensor& images);

  const BaseModelOptions& options() const { return options_; }

 private:
  // That of all images at once.
  Targets TargetsOf(const at::Tensor& images);
  // The type of its products: autocast's, or the weights'.
  at::ScalarType TypeOfProducts();
  // How many parts the images are given out in, 1 for all at once.
  int64_t ImageParts(const at::Tensor& images);
  // `images` at the model's size, normalised for it.
  at::Tensor Fitted(const at::Tensor& images) const;

  BaseModelOptions options_;
  at::Tensor scale_, shift_;  // [1, c, 1, 1]: own image = given image * scale + shift. Undefined: they are the same.
};

// Fills a base model from the state dict of a plain ViT, of MAE or of TEC (`cls_token_mlp` is then folded into
// cls_token). Everything that is an encoder's and not used here (norm, attn_pool, fc_norm, head, decoders, adaptors,
// mask tokens) is left out by name; anything else missing, unexpected or mis-shaped is an error that lists all of it.
absl::Status LoadBaseModel(BaseModel& model, const TensorMap& state);

// The same from a file of any known family (vit_plan.h, LoadVit).
absl::Status LoadBaseModel(BaseModel& model, const VitPlan& plan, bool interpolate_positions);

}  // namespace tec

#endif  // TEC_MODELS_BASE_MODEL_H_
