// Compiled once for each instruction set (Highway's foreach_target). Vectors are treated as blocks of 16 bytes that do
// not mix, so the same steps are right for vectors of any number of blocks; SVE and RISC-V, whose blocks are
// something else, are left out.

#include "data/augment/resize_kernels.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "data/augment/resize_kernels.cc"
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SCALAR)
// Also what the compiler's baseline leaves behind: the tests run all of them.
#define HWY_COMPILE_ALL_ATTAINABLE
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tec {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D8 = hn::ScalableTag<uint8_t>;
using D16 = hn::ScalableTag<int16_t>;
using D32 = hn::ScalableTag<int32_t>;
using V8 = hn::Vec<D8>;
using V32 = hn::Vec<D32>;

constexpr int kBlocks = HWY_MAX_BYTES / 16;

// sum + a[2i] * b[2i] + a[2i + 1] * b[2i + 1] in lane i, a and b as 16-bit lanes.
HWY_INLINE V32 AddPairs(V32 sum, V32 a, V32 b) {
  const D16 d16;
  const D32 d32;
#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  // On x86 the lanes are where we want them, and nothing goes into the second sum.
  V32 unused = hn::Zero(d32);
  return hn::ReorderWidenMulAccumulate(d32, hn::BitCast(d16, a), hn::BitCast(d16, b), sum, unused);
#else
  const auto even = [](V32 v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const auto odd = [](V32 v) HWY_ATTR { return hn::ShiftRight<16>(v); };
  (void)d16;
  (void)d32;
  return hn::Add(sum, hn::Add(hn::Mul(even(a), even(b)), hn::Mul(odd(a), odd(b))));
#endif
}

// The sums of both halves to values, still to be clamped to [0, 255].
HWY_INLINE V32 Finish(V32 low, V32 high) {
  return hn::ShiftRight<kResizeFractionBits>(hn::Add(hn::ShiftLeft<ResizeAxis::kLowBits>(high), low));
}

// Block by block: the values of a, b, c and d, one after another, clamped to bytes.
HWY_INLINE V8 ToBytes(V32 a, V32 b, V32 c, V32 d) {
  const D8 d8;
#if HWY_TARGET == HWY_SSE4
  return V8{_mm_packus_epi16(_mm_packs_epi32(a.raw, b.raw), _mm_packs_epi32(c.raw, d.raw))};
#elif HWY_TARGET == HWY_AVX2
  return V8{_mm256_packus_epi16(_mm256_packs_epi32(a.raw, b.raw), _mm256_packs_epi32(c.raw, d.raw))};
#elif HWY_TARGET == HWY_AVX3
  return V8{_mm512_packus_epi16(_mm512_packs_epi32(a.raw, b.raw), _mm512_packs_epi32(c.raw, d.raw))};
#else
  static_assert(kBlocks == 1, "blocks would mix");
  const hn::Half<D16> half16;
  const hn::Half<D8> half8;
  const D16 d16;
  const auto ab = hn::Combine(d16, hn::DemoteTo(half16, b), hn::DemoteTo(half16, a));
  const auto cd = hn::Combine(d16, hn::DemoteTo(half16, d), hn::DemoteTo(half16, c));
  return hn::Combine(d8, hn::DemoteTo(half8, cd), hn::DemoteTo(half8, ab));
#endif
}

// 16 bytes of each of kBlocks rows.
HWY_INLINE V8 LoadRows(const uint8_t* in, ptrdiff_t stride) {
  const hn::Full128<uint8_t> d128;
#if HWY_MAX_BYTES == 16
  return hn::LoadU(d128, in);
#elif HWY_MAX_BYTES == 32
  return hn::Combine(D8(), hn::LoadU(d128, in + stride), hn::LoadU(d128, in));
#else
  const hn::Half<D8> d256;
  return hn::Combine(D8(), hn::Combine(d256, hn::LoadU(d128, in + 3 * stride), hn::LoadU(d128, in + 2 * stride)),
                     hn::Combine(d256, hn::LoadU(d128, in + stride), hn::LoadU(d128, in)));
#endif
}

HWY_INLINE V32 Word(uint32_t word) { return hn::Set(D32(), static_cast<int32_t>(word)); }

// Rows that are done at once: two vectors, in which block b of vector v belongs to row v * kBlocks + b. Weights are
// loaded once for all.
constexpr int kRows = 2 * kBlocks;

// The bytes of one output pixel: word v of block b has the channels of row v * kBlocks + b, and zeros.
template <int kChannels>
HWY_INLINE V8 PixelOfRows(const uint8_t* HWY_RESTRICT pixel, ptrdiff_t in_stride,
                          const uint32_t* HWY_RESTRICT low_words, const uint32_t* HWY_RESTRICT high_words, int words,
                          V8 first_pair, V8 second_pair) {
  const D32 d32;
  const V32 half = hn::Set(d32, 1 << (kResizeFractionBits - 1));
  V32 low0 = half, low1 = half, high0 = hn::Zero(d32), high1 = high0;
  for (int p = 0; p < words; p += 2, pixel += 4 * kChannels) {
    const V8 pixels0 = LoadRows(pixel, in_stride), pixels1 = LoadRows(pixel + kBlocks * in_stride, in_stride);
    const V32 low_word = Word(low_words[p]), high_word = Word(high_words[p]);
    const V32 a0 = hn::BitCast(d32, hn::TableLookupBytesOr0(pixels0, first_pair));
    const V32 a1 = hn::BitCast(d32, hn::TableLookupBytesOr0(pixels1, first_pair));
    low0 = AddPairs(low0, a0, low_word);
    low1 = AddPairs(low1, a1, low_word);
    high0 = AddPairs(high0, a0, high_word);
    high1 = AddPairs(high1, a1, high_word);
    const V32 low_word2 = Word(low_words[p + 1]), high_word2 = Word(high_words[p + 1]);
    const V32 b0 = hn::BitCast(d32, hn::TableLookupBytesOr0(pixels0, second_pair));
    const V32 b1 = hn::BitCast(d32, hn::TableLookupBytesOr0(pixels1, second_pair));
    low0 = AddPairs(low0, b0, low_word2);
    low1 = AddPairs(low1, b1, low_word2);
    high0 = AddPairs(high0, b0, high_word2);
    high1 = AddPairs(high1, b1, high_word2);
  }
  const V32 value0 = Finish(low0, high0), value1 = Finish(low1, high1);
  return ToBytes(value0, value1, value0, value1);
}

// Where a pair of pixels is taken from among four: channel c of pixels `first` and `first` + 1 into the 16-bit lanes of
// word c. 0x80 gives zero.
template <int kChannels, int first>
V8 PairOfPixels() {
  alignas(16) uint8_t from[16];
  for (int c = 0; c < 4; ++c) {
    from[4 * c] = c < kChannels ? first * kChannels + c : 0x80;
    from[4 * c + 2] = c < kChannels ? (first + 1) * kChannels + c : 0x80;
    from[4 * c + 1] = from[4 * c + 3] = 0x80;
  }
  return hn::LoadDup128(D8(), from);
}

template <int kChannels>
void RowsOfBlocks(const uint8_t* HWY_RESTRICT in, ptrdiff_t in_stride, const ResizeAxis& axis,
                  uint8_t* HWY_RESTRICT out) {
  const D8 d8;
  const V8 first_pair = PairOfPixels<kChannels, 0>(), second_pair = PairOfPixels<kChannels, 2>();
  const int outputs = axis.outputs(), pairs = axis.pairs;
  const int* HWY_RESTRICT first = axis.first.data();
  const int* HWY_RESTRICT count = axis.count.data();
  const uint32_t* HWY_RESTRICT low = axis.low.data();
  const uint32_t* HWY_RESTRICT high = axis.high.data();
  const ptrdiff_t out_stride = ptrdiff_t{kChannels} * outputs;
  alignas(64) uint8_t bytes[HWY_MAX_BYTES];
  for (int x = 0; x + 1 < outputs; ++x, low += pairs, high += pairs, out += kChannels) {
    const int words = (count[x] + 3) / 4 * 2;
    const uint8_t* pixel = in + ptrdiff_t{kChannels} * first[x];
    hn::Store(PixelOfRows<kChannels>(pixel, in_stride, low, high, words, first_pair, second_pair), d8, bytes);
    // Of RGB four bytes at once: the next pixel takes back the last.
    for (int r = 0; r < kRows; ++r) {
      std::memcpy(out + r * out_stride, bytes + 16 * (r % kBlocks) + 4 * (r / kBlocks), kChannels == 3 ? 4 : kChannels);
    }
  }
  const int x = outputs - 1, words = (count[x] + 3) / 4 * 2;
  const uint8_t* pixel = in + ptrdiff_t{kChannels} * first[x];
  hn::Store(PixelOfRows<kChannels>(pixel, in_stride, low, high, words, first_pair, second_pair), d8, bytes);
  for (int r = 0; r < kRows; ++r) {
    std::memcpy(out + r * out_stride, bytes + 16 * (r % kBlocks) + 4 * (r / kBlocks), kChannels);
  }
}

template <int kChannels>
void RowsOfChannels(const uint8_t* in, ptrdiff_t in_stride, int rows, const ResizeAxis& axis, uint8_t* out) {
  const ptrdiff_t out_stride = ptrdiff_t{kChannels} * axis.outputs();
  int y = 0;
  for (; y + kRows <= rows; y += kRows)
    RowsOfBlocks<kChannels>(in + y * in_stride, in_stride, axis, out + y * out_stride);
  if (y == rows) return;
  if (rows >= kRows) {
    // Some of these have been done already and come out the same.
    y = rows - kRows;
    RowsOfBlocks<kChannels>(in + y * in_stride, in_stride, axis, out + y * out_stride);
    return;
  }
  // Too few: one after another, each kRows times.
  std::vector<uint8_t> copies(static_cast<size_t>(out_stride) * kRows);
  for (; y < rows; ++y) {
    RowsOfBlocks<kChannels>(in + y * in_stride, 0, axis, copies.data());
    std::memcpy(out + y * out_stride, copies.data(), out_stride);
  }
}

// 1 to 4 channels.
void Rows(const uint8_t* in, ptrdiff_t in_stride, int rows, int channels, const ResizeAxis& axis, uint8_t* out) {
  switch (channels) {
    case 1:
      return RowsOfChannels<1>(in, in_stride, rows, axis, out);
    case 2:
      return RowsOfChannels<2>(in, in_stride, rows, axis, out);
    case 3:
      return RowsOfChannels<3>(in, in_stride, rows, axis, out);
    default:
      return RowsOfChannels<4>(in, in_stride, rows, axis, out);
  }
}

// One vector of bytes of one output row.
HWY_INLINE V8 ColumnsOfVector(const uint8_t* in, ptrdiff_t in_stride, const uint32_t* low_words,
                              const uint32_t* high_words, int count) {
  const D8 d8;
  const D32 d32;
  const V8 zero = hn::Zero(d8);
  const V32 half = hn::Set(d32, 1 << (kResizeFractionBits - 1));
  V32 low0 = half, low1 = half, low2 = half, low3 = half;
  V32 high0 = hn::Zero(d32), high1 = high0, high2 = high0, high3 = high0;
  for (int k = 0; k < count; k += 2, in += 2 * in_stride) {
    const V8 even = hn::LoadU(d8, in);
    // Beyond the last row there may be nothing; its weight is zero.
    const V8 odd = k + 1 < count ? hn::LoadU(d8, in + in_stride) : zero;
    const V8 lower = hn::InterleaveLower(d8, even, odd), upper = hn::InterleaveUpper(d8, even, odd);
    const V32 a = hn::BitCast(d32, hn::InterleaveLower(d8, lower, zero));
    const V32 b = hn::BitCast(d32, hn::InterleaveUpper(d8, lower, zero));
    const V32 c = hn::BitCast(d32, hn::InterleaveLower(d8, upper, zero));
    const V32 d = hn::BitCast(d32, hn::InterleaveUpper(d8, upper, zero));
    const V32 low_word = Word(low_words[k / 2]), high_word = Word(high_words[k / 2]);
    low0 = AddPairs(low0, a, low_word);
    low1 = AddPairs(low1, b, low_word);
    low2 = AddPairs(low2, c, low_word);
    low3 = AddPairs(low3, d, low_word);
    high0 = AddPairs(high0, a, high_word);
    high1 = AddPairs(high1, b, high_word);
    high2 = AddPairs(high2, c, high_word);
    high3 = AddPairs(high3, d, high_word);
  }
  return ToBytes(Finish(low0, high0), Finish(low1, high1), Finish(low2, high2), Finish(low3, high3));
}

void Columns(const uint8_t* in, ptrdiff_t in_stride, int bytes, const ResizeAxis& axis, uint8_t* out) {
  const D8 d8;
  const int step = hn::Lanes(d8);
  alignas(64) uint8_t tail[HWY_MAX_BYTES];
  for (int y = 0; y < axis.outputs(); ++y, out += bytes) {
    const uint8_t* top = in + axis.first[y] * in_stride;
    const uint32_t* low_words = &axis.low[static_cast<size_t>(y) * axis.pairs];
    const uint32_t* high_words = &axis.high[static_cast<size_t>(y) * axis.pairs];
    int x = 0;
    for (; x + step <= bytes; x += step) {
      hn::StoreU(ColumnsOfVector(top + x, in_stride, low_words, high_words, axis.count[y]), d8, out + x);
    }
    if (x < bytes) {
      hn::Store(ColumnsOfVector(top + x, in_stride, low_words, high_words, axis.count[y]), d8, tail);
      std::memcpy(out + x, tail, bytes - x);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tec
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tec {

HWY_EXPORT(Rows);
HWY_EXPORT(Columns);

namespace {

void RowsOfManyChannels(const uint8_t* in, ptrdiff_t in_stride, int rows, int channels, const ResizeAxis& axis,
                        uint8_t* out) {
  for (int x = 0; x < axis.outputs(); ++x) {
    for (int y = 0; y < rows; ++y) {
      const uint8_t* pixels = in + y * in_stride + ptrdiff_t{channels} * axis.first[x];
      uint8_t* result = out + (ptrdiff_t{axis.outputs()} * y + x) * channels;
      for (int c = 0; c < channels; ++c) {
        int32_t sum = 1 << (kResizeFractionBits - 1);
        for (int k = 0; k < axis.count[x]; ++k) sum += axis.weight(x, k) * pixels[ptrdiff_t{channels} * k + c];
        result[c] = static_cast<uint8_t>(std::clamp(sum >> kResizeFractionBits, 0, 255));
      }
    }
  }
}

}  // namespace

void ResizeRows(const uint8_t* in, ptrdiff_t in_stride, int rows, int channels, const ResizeAxis& axis, uint8_t* out) {
  if (channels > 4) return RowsOfManyChannels(in, in_stride, rows, channels, axis, out);
  HWY_DYNAMIC_DISPATCH(Rows)(in, in_stride, rows, channels, axis, out);
}

void ResizeColumns(const uint8_t* in, ptrdiff_t in_stride, int bytes, const ResizeAxis& axis, uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(Columns)(in, in_stride, bytes, axis, out);
}

std::vector<int64_t> ResizeTargets() { return hwy::SupportedAndGeneratedTargets(); }

void UseResizeTargetForTest(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace tec
#endif  // HWY_ONCE
