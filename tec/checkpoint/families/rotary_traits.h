// Rotary positions as a family of files has them: what tells its RotaryGrid (tec/nn/rotary_grid.h), and in which order
// the numbers of a head are in its files.

#ifndef TEC_CHECKPOINT_FAMILIES_ROTARY_TRAITS_H_
#define TEC_CHECKPOINT_FAMILIES_ROTARY_TRAITS_H_

#include <vector>

namespace tec {

struct RotaryTraits {
  double shift = 0, span = 0, origin = 0;  // RotaryGrid's; or
  bool span_of_table = false;              // the span is the grid that the position table is for.
  double theta = 10000, scale = 1;         // RotaryFrequencies', unless the file has frequencies of its own:
  std::vector<double> frequencies = {};
  // Which numbers of a head of q and k are turned together: 2 k and 2 k + 1, instead of k and k + d/2.
  bool interleaved = false;
  // The first half of the angles is that of a patch's column, instead of its row.
  bool columns_first = false;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_ROTARY_TRAITS_H_
