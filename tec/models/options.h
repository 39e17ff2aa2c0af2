// Sizes of the models, as plain values: what the config turns into and what a model is built from. No tensors here.
//
// Shape letters, the same everywhere under tec/ (recipe.md section 1):
//   N images   P patch size   L patches   T = 1 + L tokens, [CLS] first   V visible patches   S = 1 + V encoder tokens
//   C encoder width   D encoder blocks   H encoder heads   W decoder width   G adaptor groups
//   K selected patches   J averaged blocks   c channels of an image, 3 for RGB

#ifndef TEC_MODELS_OPTIONS_H_
#define TEC_MODELS_OPTIONS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "tec/nn/activation.h"
#include "tec/nn/rotary_grid.h"

namespace tec {

// No field of these structs has a useful default: a size that no experiment shows would be a hidden hyperparameter.

// How a ViT may differ from MAE's, which the defaults are. A property of the file it comes from, never of an
// experiment.
struct VitVariant {
  bool class_token = true;  // Without one the encoder has no [CLS] (SigLIP, I-JEPA, AIMv2).
  int64_t registers = 0;    // R: further tokens between [CLS] and the patches, which are no targets.
  int64_t hidden = 0;       // Of the MLP; 0: 4 C.
  Activation activation = Activation::kGelu;
  double norm_epsilon = 1e-6;
  bool rms_norm = false;            // Every norm divides by the root mean square alone (AIMv2).
  bool patch_norm = false;          // A norm between the patch embedding and the position table (AIMv2).
  bool pre_norm = false;            // A norm between the position table and the blocks.
  bool post_norm = false;           // In a block norms stand after attention and MLP.
  bool attention_norm = false;      // A norm before each attention's last matrix.
  bool mlp_norm = false;            // A norm before each MLP's last matrix.
  bool relative_positions = false;  // Each block adds a relative position bias to its logits (BEiT).
  RotaryGrid rotary;                // Without frequencies: none.
  int64_t pool_hidden = 0;          // Of the MLP of an encoder's attention pool (attention_pool.h); 0: it has none.
  bool final_norm = true;           // Without one an encoder's features are what its last block gives (C-RADIO).

  // Tokens before the patches.
  int64_t prefix() const { return (class_token ? 1 : 0) + registers; }
  bool operator==(const VitVariant& other) const;
};

// A vision transformer. ViT-B/16 at 224 pixels: {224, 16, 768, 12, 12}.
struct VitOptions {
  int64_t image_size = 0;  // Pixels a side.
  int64_t patch_size = 0;  // P
  int64_t width = 0;       // C
  int64_t depth = 0;       // D
  int64_t heads = 0;       // H
  VitVariant variant = {};
  int64_t channels = 3;  // c

  int64_t grid() const { return image_size / patch_size; }  // Patches a side.
  int64_t patches() const { return grid() * grid(); }       // L
  int64_t tokens() const { return 1 + patches(); }          // T
};

// The decoder's blocks. The reference's: {512, 2, 16} for ViT-B, {768, 2, 16} for ViT-L; MAE's {512, 8, 16}.
struct DecoderOptions {
  int64_t width = 0;  // W
  int64_t depth = 0;
  int64_t heads = 0;
  int64_t hidden = 0;  // Of the blocks' MLPs; 0: 4 W. The adaptor's are 4 W in any case.
};

// The frozen base model and the targets taken from it.
struct BaseModelOptions {
  VitOptions encoder;
  int64_t last_layers = 0;  // J: blocks whose mean is the feature target, 1..D.
  int64_t top_patches = 0;  // K: patches whose relations are the target, 1..L; 0: no relation target.
};

// The new model.
struct TecOptions {
  VitOptions encoder;
  DecoderOptions decoder;
  bool mlp_token = false;      // The input adaptor: an MLP on the [CLS] token.
  bool pred_att = false;       // Predict relations too.
  int64_t adaptor_groups = 0;  // G, a divisor of D; 0: D / 3 (at least 1), as the reference.
  int64_t target_width = 0;    // C of the base model; 0: the new model's own.
  int64_t target_heads = 0;    // H of the base model; 0: the new model's own.
  // C and H of further base models. Each has an adaptor, decoders and decoder blocks of its own.
  struct Target {
    int64_t width = 0, heads = 0;
  };
  std::vector<Target> further_targets = {};

  int64_t groups() const { return adaptor_groups != 0 ? adaptor_groups : (encoder.depth < 3 ? 1 : encoder.depth / 3); }
  int64_t prediction_width() const { return target_width != 0 ? target_width : encoder.width; }
  int64_t prediction_heads() const { return target_heads != 0 ? target_heads : encoder.heads; }
  // Of the base models, the first one first.
  size_t base_models() const { return 1 + further_targets.size(); }
  Target target(size_t base) const {
    return base == 0 ? Target{prediction_width(), prediction_heads()} : further_targets[base - 1];
  }
};

// A masked autoencoder, which makes base models.
struct MaeOptions {
  VitOptions encoder;
  DecoderOptions decoder;
};

// A classifier on the encoder, for finetuning.
struct FinetuneOptions {
  VitOptions encoder;
  int64_t classes = 0;
  bool global_pool = true;  // Mean of the patch tokens, then fc_norm; else norm, then the [CLS] token.
  bool mlp_token = false;   // Must be what the new model was pretrained with.
  double drop_path = 0;     // Stochastic depth: rate of the last block, [0, 1).
};

// OK, or every reason why no such model can be built, in one message: sizes that are not positive, an image that is no
// multiple of the patch, a width that the heads (or, for the position table, 4) do not divide, groups that do not
// divide the depth, J or K out of range, drop_path out of range, a [CLS] token where the encoder has none.
absl::Status Validate(const BaseModelOptions& options);
absl::Status Validate(const TecOptions& options);
absl::Status Validate(const MaeOptions& options);
absl::Status Validate(const FinetuneOptions& options);

// OK, or why a new model cannot be trained against this base model: both must cut an image into the same grid of
// patches. Widths and heads may differ; image and patch sizes too (DINOv2's patches have 14 pixels): the base model
// then gets the same crop at its own size.
absl::Status ValidatePair(const BaseModelOptions& base_model, const TecOptions& new_model);

}  // namespace tec

#endif  // TEC_MODELS_OPTIONS_H_
