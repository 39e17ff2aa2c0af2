// The pooling of encoders that have no [CLS] token: SigLIP's "MAP head", a learned query that attends to all patches.

#ifndef TEC_NN_ATTENTION_POOL_H_
#define TEC_NN_ATTENTION_POOL_H_

#include <cstdint>
#include <memory>

#include "tec/nn/modules.h"

namespace tec {

// State: query [1, 1, C] (the learned token after its own projection, which is the same for every image), kv.* (k and v
// in that order), proj.*, norm.*, mlp.*.
class AttentionPool : public torch::nn::Module {
 public:
  AttentionPool(int64_t width, int64_t heads, int64_t hidden, Activation activation, double norm_epsilon);

  // tokens [N, T, C], after the final norm -> [N, C]: y = proj(attention of query to tokens), then y + mlp(norm(y)).
  at::Tensor forward(const at::Tensor& tokens);

 private:
  int64_t heads_;
  at::Tensor query_;
  std::shared_ptr<Linear> kv_, proj_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Mlp> mlp_;
};

}  // namespace tec

#endif  // TEC_NN_ATTENTION_POOL_H_
