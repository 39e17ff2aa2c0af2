// The residual stream through the blocks of a model that does not train.
//
// Where nothing is gone back through, the sum in the middle of a block need not be kept: only its norm is written, and
// at the end of the block the sum is made again from its parts, to the same bits. In low precision that is 22 bytes in
// place of 24 for each value and block, of what a base model reads and writes between its products.

#ifndef TEC_MODELS_FROZEN_STREAM_H_
#define TEC_MODELS_FROZEN_STREAM_H_

#include <utility>

#include "tec/models/options.h"
#include "tec/nn/modules.h"

namespace tec {

class FrozenStream {
 public:
  // tokens [N, T, C], the first block's input. Blocks of the variants that have their norms elsewhere, or another one,
  // go Block's own way.
  FrozenStream(at::Tensor tokens, const VitVariant& variant)
      : x_(std::move(tokens)), in_parts_(!variant.post_norm && !variant.rms_norm) {}

  // As Block::Enter and Leave, under NoGradGuard.
  Block::Entered Enter(Block& block);
  void Leave(Block& block, const Block::Entered& entered);

 private:
  at::Tensor x_, attention_, mlp_;  // x_ + attention_ + mlp_, the last two where they are defined.
  bool in_parts_;
};

}  // namespace tec

#endif  // TEC_MODELS_FROZEN_STREAM_H_
