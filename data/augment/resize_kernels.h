// The two passes of the fixed-point resize, in vector instructions chosen when the program runs.

#ifndef TEC_DATA_AUGMENT_RESIZE_KERNELS_H_
#define TEC_DATA_AUGMENT_RESIZE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tec {

// Weights are multiples of 2^-22, as Pillow's. With negative lobes the sum of their magnitudes stays below 1.4 * 2^22,
// so 255 times that fits into 31 bits.
inline constexpr int kResizeFractionBits = 22;

// Output i is the sum over k < count[i] of weight(i, k) * input[first[i] + k].
//
// A weight has two halves of at most 16 bits, weight = high * 2^11 + low with 0 <= low < 2^11: two products of 16 bits,
// added up in one instruction, are what vector units are quick at, and the sums of the halves are put together at the
// end, modulo 2^32. Weights of taps 2p and 2p + 1 lie in one word, that of the even tap in the lower 16 bits.
struct ResizeAxis {
  static constexpr int kLowBits = 11;

  // Words for one output, even: a multiple of four taps; what lies beyond count[i] is zero.
  int pairs = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<uint32_t> low, high;  // [outputs, pairs]

  int outputs() const { return static_cast<int>(first.size()); }
  int32_t weight(int output, int tap) const {
    const size_t word = static_cast<size_t>(output) * pairs + tap / 2;
    const int shift = tap % 2 * 16;
    return static_cast<int16_t>(high[word] >> shift) * (1 << kLowBits) + static_cast<int16_t>(low[word] >> shift);
  }
};

// Along rows of pixels: out [rows, axis.outputs(), channels] without gaps. `in` is where input 0 of the axis lies (that
// address itself is not read unless an output needs it), `in_stride` the bytes from row to row. Reads up to 16 bytes
// beyond the last pixel that is needed, and writes nothing beyond `out`. More than four channels are done one value at
// a time.
void ResizeRows(const uint8_t* in, ptrdiff_t in_stride, int rows, int channels, const ResizeAxis& axis, uint8_t* out);

// Down columns of bytes: out [axis.outputs(), bytes] without gaps. `in` is where row 0 of the axis lies. Reads up to 64
// bytes beyond the last that is needed, and writes nothing beyond `out`.
void ResizeColumns(const uint8_t* in, ptrdiff_t in_stride, int bytes, const ResizeAxis& axis, uint8_t* out);

// For tests: the targets compiled in that this machine can run, as Highway's bits, and their choice (0: the best).
std::vector<int64_t> ResizeTargets();
void UseResizeTargetForTest(int64_t target);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RESIZE_KERNELS_H_
