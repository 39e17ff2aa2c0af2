#include "tec/nn/positions.h"

#include <cmath>

#include "ATen/ops/_upsample_bicubic2d_aa.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/upsample_bicubic2d.h"
#include "ATen/ops/zeros.h"
#include "tec/base/logging.h"

namespace tec {

at::Tensor SinCosPositionsDouble(int64_t width, int64_t grid) {
  TEC_CHECK(width > 0 && width % 4 == 0) << "a sin-cos table needs a width that is a multiple of 4, not " << width;
  TEC_CHECK_GT(grid, 0);
  const int64_t frequencies = width / 4;
  at::Tensor table = at::zeros({1 + grid * grid, width}, at::kDouble);
  double* row = table.data_ptr<double>() + width;
  for (int64_t y = 0; y < grid; ++y) {
    for (int64_t x = 0; x < grid; ++x, row += width) {
      for (int64_t k = 0; k < frequencies; ++k) {
        const double omega = 1.0 / std::pow(10000.0, static_cast<double>(k) / static_cast<double>(frequencies));
        row[k] = std::sin(x * omega);
        row[frequencies + k] = std::cos(x * omega);
        row[2 * frequencies + k] = std::sin(y * omega);
        row[3 * frequencies + k] = std::cos(y * omega);
      }
    }
  }
  return table;
}

at::Tensor SinCosPositions(int64_t width, int64_t grid) {
  return SinCosPositionsDouble(width, grid).to(at::kFloat).unsqueeze(0);
}

at::Tensor InterpolatePositions(const at::Tensor& positions, int64_t grid, PositionInterpolation how) {
  TEC_CHECK(positions.dim() == 3 && positions.size(0) == 1 && grid > 0)
      << "a position table has shape [1, T, C], not " << positions.sizes();
  const int64_t patches = positions.size(1) - 1, width = positions.size(2);
  const int64_t old_grid = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(patches))));
  TEC_CHECK(old_grid > 0 && old_grid * old_grid == patches) << patches << " patch positions are no square grid";
  if (old_grid == grid) return positions;
  const at::Tensor picture =
      positions.slice(1, 1).reshape({1, old_grid, old_grid, width}).permute({0, 3, 1, 2}).contiguous();
  at::Tensor resized;
  if (how == PositionInterpolation::kAntialias) {
    resized = at::_upsample_bicubic2d_aa(picture, {grid, grid}, /*align_corners=*/false);
  } else if (how == PositionInterpolation::kOffset) {
    // The scale is given, and with it where the rows are sampled; the size would give another.
    const double scale = (static_cast<double>(grid) + 0.1) / static_cast<double>(old_grid);
    resized = at::upsample_bicubic2d(picture, {grid, grid}, /*align_corners=*/false, scale, scale);
  } else {
    resized = at::upsample_bicubic2d(picture, {grid, grid}, /*align_corners=*/false);
  }
  return at::cat({positions.slice(1, 0, 1), resized.permute({0, 2, 3, 1}).reshape({1, grid * grid, width})}, 1);
}

}  // namespace tec
