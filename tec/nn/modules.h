// The transformer's parts: Linear, LayerNorm, Mlp, Attention, Block, PatchEmbed.
//
// Parameters carry the names of the reference's state dict. They are allocated and left unset: a model is filled either
// by initialise.h, as a function of a seed, or from a checkpoint (module_state.h). That is why these are not
// torch::nn::Linear and friends, which draw initial values from a global generator when they are made.
//
// Shape letters: tec/models/options.h. Results have the dtype that the ops give; under autocast (autocast.h) the
// residual stream stays float32, because it starts as float32.

#ifndef TEC_NN_MODULES_H_
#define TEC_NN_MODULES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tec/nn/activation.h"
#include "tec/nn/residual_norm.h"
#include "tec/nn/rotary.h"
#include "torch/nn/module.h"

namespace tec {

// Every norm of the transformers; the encoder adaptor's two use kAdaptorNormEpsilon.
inline constexpr double kNormEpsilon = 1e-6;

// y = x weight^T + bias. weight [out, in], bias [out].
class Linear : public torch::nn::Module {
 public:
  Linear(int64_t in, int64_t out) : Linear(std::vector<int64_t>{out, in}) {}
  at::Tensor forward(const at::Tensor& x) { return Apply(x, bias); }
  // Its gradient is that of all but the bias, which what comes next gives in the same pass as its own:
  // ResidualStream::branch_bias, SplitHeads, GeluWithBiasGradient.
  at::Tensor WithoutBiasGradient(const at::Tensor& x) { return Apply(x, {}); }

  // With these of the weight's rows and the bias's values alone: [..., in] -> [..., count].
  at::Tensor Rows(const at::Tensor& x, int64_t first, int64_t count);

  // Copies of low precision that forward takes under autocast to their type (working_weights.h); no part of the state.
  void SetWorkingWeights(at::Tensor low_weight, at::Tensor low_bias);
  const at::Tensor& low_weight() const { return low_weight_; }
  const at::Tensor& low_bias() const { return low_bias_; }

  at::Tensor weight, bias;

 protected:
  // weight of this shape, [out, ...]: read as [out, in].
  explicit Linear(const std::vector<int64_t>& weight_sizes);

 private:
  // trained_bias: `bias`, or undefined for no gradient.
  at::Tensor Apply(const at::Tensor& x, const at::Tensor& trained_bias);
  // Whether the copies are what autocast would make now.
  bool HasWorkingWeights() const;

  at::Tensor low_weight_, low_bias_;
};

// Over the last dimension, biased variance. weight and bias [width]. With `rms` the root mean square alone is divided
// by, and there is no bias (AIMv2).
class LayerNorm : public torch::nn::Module {
 public:
  explicit LayerNorm(int64_t width, double epsilon = kNormEpsilon, bool rms = false);
  at::Tensor forward(const at::Tensor& x);
  // Of a stream's sum, in its type.
  at::Tensor forward(const ResidualStream& stream);
  // Of a stream, with its sum; `normed` in the type that a product takes it in (autocast.h).
  SumAndNorm ForProduct(const ResidualStream& stream);

  at::Tensor weight, bias;  // bias: undefined with `rms`.
  double epsilon() const { return epsilon_; }

 private:
  double epsilon_;
};

// fc2(norm(activation(fc1(x)))): [..., in] -> [..., in]. `hidden` is the width of fc2's input; with kSwiGlu fc1 gives
// twice that. `norm`, of width `hidden`: null for most (EVA-02 has one).
class Mlp : public torch::nn::Module {
 public:
  Mlp(int64_t in, int64_t hidden, Activation activation = Activation::kGelu, std::shared_ptr<LayerNorm> norm = nullptr);
  at::Tensor forward(const at::Tensor& x) { return fc2->forward(Hidden(x)); }
  // What fc2 is given.
  at::Tensor Hidden(const at::Tensor& x);

  std::shared_ptr<Linear> fc1, fc2;

 private:
  std::shared_ptr<LayerNorm> norm_;
  Activation activation_;
};

// Multi-head self-attention. `qkv` is one Linear, C -> 3C, its output read as [N, T, 3, H, C/H]: q, k, v in that order,
// heads contiguous.
//
// With a relative grid g > 0 a bias for where a token lies from another is added to the logits (BEiT; T = 1 + g*g):
// relative_position_bias_table [(2g-1)^2 + 3, H], a row for each distance in rows and columns, and three for [CLS] to
// patches, patches to [CLS], [CLS] to itself.
//
// `rotary` (not a part of this module's state: the model's blocks share it) turns queries and keys; `norm`, of width C,
// stands before proj (EVA-02's CLIP). Both are null for most.
class Attention : public torch::nn::Module {
 public:
  Attention(int64_t width, int64_t heads, int64_t relative_grid = 0, std::shared_ptr<Rotary> rotary = nullptr,
            std::shared_ptr<LayerNorm> norm = nullptr);

  struct Projections {
    at::Tensor q, k, v;  // Each [N, H, T, C/H]; without rotary positions views of one tensor.
  };
  // x [N, T, C].
  Projections Project(const at::Tensor& x);
  // norm(softmax(q k^T / sqrt(C/H) + RelativeBias()) v), which proj is given: [N, T, C].
  at::Tensor Mix(const Projections& p);
  // [H, T, T], query by key; undefined without a relative grid. Kept while the table does not change, unless it trains.
  at::Tensor RelativeBias(at::ScalarType type);

  at::Tensor forward(const at::Tensor& x) { return proj->forward(Mix(Project(x))); }

  int64_t heads() const { return heads_; }
  std::shared_ptr<Linear> qkv, proj;

 private:
  struct KeptBias {
    at::Tensor bias;
    const void* table;
    int64_t version;  // Of the table.
  };

  int64_t heads_;
  at::Tensor relative_table_, relative_index_;  // Undefined without a relative grid.
  std::map<at::ScalarType, KeptBias> kept_bias_;
  std::shared_ptr<Rotary> rotary_;
  std::shared_ptr<LayerNorm> norm_;
};

// What is not the same in every ViT; the defaults are MAE's and TEC's.
struct BlockOptions {
  int64_t hidden = 0;  // Of the MLP; 0: 4 C.
  Activation activation = Activation::kGelu;
  double norm_epsilon = kNormEpsilon;
  int64_t relative_grid = 0;                      // Attention.
  bool rms_norm = false;                          // Every norm of the block.
  bool post_norm = false;                         // Norms after attention and MLP instead of before them.
  bool attention_norm = false, mlp_norm = false;  // A norm before attn.proj, before mlp.fc2.
  std::shared_ptr<Rotary> rotary;                 // Null: none.
};

// Pre-norm block: x += attn(norm1(x)), then x += mlp(norm2(x)). With post_norm: x += norm1(attn(x)), then
// x += norm2(mlp(x)). [N, T, C] -> [N, T, C].
class Block : public torch::nn::Module {
 public:
  Block(int64_t width, int64_t heads, const BlockOptions& options = {});
  // Stochastic depth: each branch is multiplied by its scale, one number an image (drop_path.h). Scales [N] or
  // undefined for 1.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& attention_scale = {}, const at::Tensor& mlp_scale = {}) {
    return Sum(Leave(Enter({x, {}, {}, {}}), attention_scale, mlp_scale));
  }

  // forward in two steps, for who has a stream whose last sum is still to be made, wants it so or looks at the
  // queries and keys.
  struct Entered {
    at::Tensor x;  // The block's input, summed.
    Attention::Projections p;
  };
  Entered Enter(const ResidualStream& stream);
  ResidualStream Leave(const Entered& entered, const at::Tensor& attention_scale = {},
                       const at::Tensor& mlp_scale = {});

  std::shared_ptr<LayerNorm> norm1;
  std::shared_ptr<Attention> attn;
  std::shared_ptr<LayerNorm> norm2;
  std::shared_ptr<Mlp> mlp;

 private:
  bool post_norm_;
};

// `depth` blocks named 0, 1, ...
class BlockList : public torch::nn::Module {
 public:
  BlockList(int64_t depth, int64_t width, int64_t heads, const BlockOptions& options = {});
  // Through all blocks; the last sum is still to be made.
  ResidualStream Through(const at::Tensor& x);
  at::Tensor forward(const at::Tensor& x) { return Sum(Through(x)); }

  std::vector<std::shared_ptr<Block>> blocks;
};

// Linear map of image patches, stored as the convolution (kernel and stride P) that it is in the reference:
// proj.weight [C, c, P, P], proj.bias [C].
class PatchEmbed : public torch::nn::Module {
 public:
  PatchEmbed(int64_t image_size, int64_t patch_size, int64_t width, int64_t channels = 3);

  // images [N, c, image_size, image_size] -> [N, L, c*P*P]: patches row-major, inside a patch channel, row, column.
  // TEC_CHECK-fails, saying what was expected, for any other shape.
  at::Tensor Cut(const at::Tensor& images) const;
  // patches [N, n, c*P*P], any n of them -> [N, n, C].
  at::Tensor Embed(const at::Tensor& patches) { return proj->forward(patches); }
  // images -> [N, L, C].
  at::Tensor forward(const at::Tensor& images) { return Embed(Cut(images)); }

  struct Projection : Linear {
    Projection(int64_t width, int64_t channels, int64_t patch_size)
        : Linear(std::vector<int64_t>{width, channels, patch_size, patch_size}) {}
  };
  std::shared_ptr<Projection> proj;

 private:
  int64_t image_size_, patch_size_, channels_;
};

}  // namespace tec

#endif  // TEC_NN_MODULES_H_
