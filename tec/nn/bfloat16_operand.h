// An operand of a product of bfloat16, as bfloat16_kernels.h wants it packed.

#ifndef TEC_NN_BFLOAT16_OPERAND_H_
#define TEC_NN_BFLOAT16_OPERAND_H_

#include <algorithm>
#include <cstdint>

#include "tec/nn/bfloat16_kernels.h"

namespace tec {

// Parts of `part` that `size` has, the last one perhaps smaller.
inline int64_t PartsOf(int64_t size, int64_t part) { return (size + part - 1) / part; }

// Pairs of terms [first, first + count).
struct Bfloat16Pairs {
  int64_t first, count;
};

// [indices, terms] of BF16, of which groups of `group` indices are packed. The step from index to index or the one from
// term to term is 1.
class Bfloat16Operand {
 public:
  Bfloat16Operand(const uint16_t* source, int64_t indices, int64_t terms, int64_t index_step, int64_t term_step,
                  int64_t group)
      : source_(source),
        indices_(indices),
        terms_(terms),
        by_index_(term_step == 1),
        stride_(by_index_ ? index_step : term_step),
        group_(group) {}

  int64_t groups() const { return PartsOf(indices_, group_); }

  // To `packed`, [pairs.count, group].
  void Pack(const Bfloat16Pairs& pairs, int64_t group, uint32_t* packed) const {
    const int64_t term = 2 * pairs.first, terms = std::min(2 * pairs.count, terms_ - term);
    const int64_t index = group * group_, indices = std::min(group_, indices_ - index);
    if (!by_index_) {
      PackByTerm(source_ + term * stride_ + index, stride_, indices, terms, group_, packed);
      return;
    }
    for (int64_t lane = 0; lane < group_; lane += kLanes) {
      const int64_t here = std::clamp<int64_t>(indices - lane, 0, kLanes);
      PackByIndex(source_ + (here > 0 ? index + lane : 0) * stride_ + term, stride_, here, terms,
                  std::min(group_, kLanes), group_, packed + lane);
    }
  }

 private:
  const uint16_t* source_;
  int64_t indices_, terms_;
  bool by_index_;
  int64_t stride_, group_;
};

}  // namespace tec

#endif  // TEC_NN_BFLOAT16_OPERAND_H_
