#include "tec/models/frozen_stream.h"

#include "tec/nn/autocast.h"
#include "tec/nn/residual_norm_more.h"

namespace tec {

Block::Entered FrozenStream::Enter(Block& block) {
  if (!attention_.defined()) return block.Enter({x_, mlp_, {}, {}});
  const LayerNorm& norm = *block.norm1;
  const SumAndNorm in =
      NormOfTwoBranches(x_, attention_, mlp_, {norm.weight, norm.bias}, norm.epsilon(), ProductType(x_));
  return {in.sum, block.attn->Project(in.normed)};
}

void FrozenStream::Leave(Block& block, const Block::Entered& entered) {
  if (!in_parts_) {
    const ResidualStream stream = block.Leave(entered);
    x_ = stream.x;
    mlp_ = stream.branch;
    return;
  }
  x_ = entered.x;
  attention_ = block.attn->proj->forward(block.attn->Mix(entered.p));
  const LayerNorm& norm = *block.norm2;
  mlp_ = block.mlp->forward(
      NormAlone({x_, attention_, {}, {}}, {norm.weight, norm.bias}, norm.epsilon(), ProductType(x_)));
}

}  // namespace tec
