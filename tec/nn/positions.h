// Position tables: fixed 2-D sin-cos, and the change of a table to another grid.

#ifndef TEC_NN_POSITIONS_H_
#define TEC_NN_POSITIONS_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "tec/nn/interpolation.h"

namespace tec {

// [1 + grid*grid, width] in float64; row 0, that of [CLS], is zero. Row of the patch at (row y, column x):
// [1-D(x), 1-D(y)], the column first, where 1-D(p) = [sin(p w), cos(p w)] and w_k = 10000^(-k / (width/4)),
// k = 0 .. width/4 - 1. width must be a multiple of 4. (recipe.md section 3.3; MAE's pos_embed.py.)
at::Tensor SinCosPositionsDouble(int64_t width, int64_t grid);

// The same in float32 as [1, T, width]: what a model stores.
at::Tensor SinCosPositions(int64_t width, int64_t grid);

// [1, 1 + a*a, width] -> [1, 1 + grid*grid, width]: patch rows as an a x a picture, bicubic, in the way of `how`; the
// [CLS] row is kept. Returns the table itself when the grid does not change.
at::Tensor InterpolatePositions(const at::Tensor& positions, int64_t grid,
                                PositionInterpolation how = PositionInterpolation::kPlain);

}  // namespace tec

#endif  // TEC_NN_POSITIONS_H_
