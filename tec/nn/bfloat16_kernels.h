// What bfloat16_product.cc is made of, in AVX-512's instructions for bfloat16 (vdpbf16ps: to each of 16 sums of float32
// the products of two pairs of bfloat16 are added). May be called where HasBfloat16Kernels() alone.
//
// An operand is packed into groups of indices (rows of the left one, columns of the right one): of each pair of terms
// one 32-bit word an index, the even term in its low half, in the order [pairs][indices of the group]. What is past an
// operand's end is zero.

#ifndef TEC_NN_BFLOAT16_KERNELS_H_
#define TEC_NN_BFLOAT16_KERNELS_H_

#include <cstdint>

namespace tec {

// Sums that fill the registers: 24 of 32, with two of the right operand.
inline constexpr int64_t kStripRows = 12, kPanelColumns = 32;

// Whether products are to be made by these: the processor has the instructions, and not AMX, whose units oneDNN takes
// for products of bfloat16 (Intel's from Sapphire Rapids on; not measured).
bool HasBfloat16Kernels();

// Operands that lie "by index": index i, term t is source[i * stride + t]. At most kLanes indices of a group that has
// `group` of them, to `packed`, where the first of these lies; `lanes` are written, those from `indices` on as zeros.
inline constexpr int64_t kLanes = 16;
void PackByIndex(const uint16_t* source, int64_t stride, int64_t indices, int64_t terms, int64_t lanes, int64_t group,
                 uint32_t* packed);

// That lie "by term": index i, term t is source[t * stride + i]. A whole group (kStripRows or kPanelColumns), of which
// `indices` are there.
void PackByTerm(const uint16_t* source, int64_t stride, int64_t indices, int64_t terms, int64_t group,
                uint32_t* packed);

// A tile of the result, [kStripRows, kPanelColumns]; `rows` and `columns` of it are there.
struct Bfloat16Tile {
  const uint32_t* strip;  // [pairs, kStripRows]
  const uint32_t* panel;  // [pairs, kPanelColumns]
  int64_t pairs, rows, columns;
  float* partial;  // [kStripRows, kPanelColumns]: the sums of the terms before these, or of these.
  bool first, last;
  // Of the last terms: F32 to `floats`, past the caches if `aligned` (to 64 bytes, every row), or BF16 to `shorts`.
  float* floats;
  uint16_t* shorts;
  int64_t stride;  // Elements from row to row of either.
  bool aligned;
};
void MultiplyTile(const Bfloat16Tile& tile);

// After a thread's tiles: what went past the caches is there for others.
void FinishTiles();

}  // namespace tec

#endif  // TEC_NN_BFLOAT16_KERNELS_H_
