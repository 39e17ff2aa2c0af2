#include "tec/nn/attention_pool.h"

namespace tec {

AttentionPool::AttentionPool(int64_t width, int64_t heads, int64_t hidden, Activation activation, double norm_epsilon)
    : heads_(heads) {
  query_ = register_parameter("query", at::empty({1, 1, width}));
  kv_ = register_module("kv", std::make_shared<Linear>(width, 2 * width));
  proj_ = register_module("proj", std::make_shared<Linear>(width, width));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(width, norm_epsilon));
  mlp_ = register_module("mlp", std::make_shared<Mlp>(width, hidden, activation));
}

at::Tensor AttentionPool::forward(const at::Tensor& tokens) {
  const int64_t count = tokens.size(0), length = tokens.size(1), width = tokens.size(2);
  const at::Tensor kv = kv_->forward(tokens).view({count, length, 2, heads_, width / heads_}).permute({2, 0, 3, 1, 4});
  const at::Tensor q = query_.view({1, heads_, 1, width / heads_}).expand({count, -1, -1, -1}).to(kv.scalar_type());
  const at::Tensor mixed = at::scaled_dot_product_attention(q, kv[0], kv[1]);  // [N, H, 1, C/H]
  const at::Tensor y = proj_->forward(mixed.transpose(1, 2).flatten(1));
  return y + mlp_->forward(norm_->forward(y));
}

}  // namespace tec
