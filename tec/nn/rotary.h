// Rotary positions as a part of attention: queries and keys of patches are turned, two numbers at a time, by the angles
// of rotary_grid.h. Tokens that are no patches stay as they are.

#ifndef TEC_NN_ROTARY_H_
#define TEC_NN_ROTARY_H_

#include <cstdint>

#include "tec/nn/rotary_grid.h"
#include "torch/nn/module.h"

namespace tec {

// No parameters; one is shared by the blocks of a model.
class Rotary : public torch::nn::Module {
 public:
  Rotary(const RotaryGrid& rotary, int64_t grid);

  // x [N, H, T, d], d = 4 * frequencies, its last grid * grid tokens patches -> the same shape and dtype. Numbers k and
  // k + d/2 of a patch are turned by its angle k. Families that pair their numbers otherwise have the rows of their
  // projections put in this order (vit_plan.h), which is the same function.
  at::Tensor forward(const at::Tensor& x) const;

 private:
  at::Tensor cos_, sin_;  // [L, d]
};

}  // namespace tec

#endif  // TEC_NN_ROTARY_H_
