// Where the patches of an image lie for rotary positions, and the angles that this gives. No LibTorch.

#ifndef TEC_NN_ROTARY_GRID_H_
#define TEC_NN_ROTARY_GRID_H_

#include <cstdint>
#include <vector>

namespace tec {

// Axial rotary positions: a half of each head's width turns with the row of a patch, the other half with its column.
// The patch in row (or column) i of g has the coordinate (i + shift) * span / g + origin:
//
//   DINOv3            shift 0.5, span 2, origin -1    centres of the patches, the image being [-1, 1]
//   EVA-02            shift 0, span 16                numbers of the patches at the size of the pretraining
//   Perception Enc.   shift 1, span of each model     the same, counted from 1
//
// span 0 stands for g: the numbers of the patches at any size.
struct RotaryGrid {
  double shift = 0, span = 0, origin = 0;
  // Angle for each coordinate of one, in radians; a quarter of a head's width. Empty: no rotary positions.
  std::vector<double> frequencies;

  bool operator==(const RotaryGrid& other) const {
    return shift == other.shift && span == other.span && origin == other.origin && frequencies == other.frequencies;
  }
};

// theta^(-k / count) times `scale`, k = 0 .. count - 1: those of all published models, for a theta of 100 (DINOv3,
// times 2 pi) or 10000.
std::vector<double> RotaryFrequencies(double theta, int64_t count, double scale = 1);

// [grid * grid, 2 * frequencies] row-major, patches row by row: of each the angles of its row, then those of its
// column.
std::vector<double> RotaryAngles(const RotaryGrid& rotary, int64_t grid);

}  // namespace tec

#endif  // TEC_NN_ROTARY_GRID_H_
