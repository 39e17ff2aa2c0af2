#include "tec/nn/bfloat16_kernels.h"

#include <immintrin.h>

// The file is compiled for the processors that the rest is compiled for; these functions alone are not.
#define TEC_BFLOAT16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace tec {
namespace {

// The lowest `count` bits.
constexpr uint32_t Bits(int64_t count) {
  return count >= 32 ? ~uint32_t{0} : count <= 0 ? 0 : (uint32_t{1} << count) - 1;
}

// rows[i] word j -> rows[j] word i.
TEC_BFLOAT16 void Transpose(__m512i* rows) {
  __m512i t[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // Of four rows: words 0, 1, 2, 3 of each quarter.
    rows[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    rows[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // Quarters 0 and 2, 1 and 3, of rows 0 to 7 and 8 to 15.
    t[i] = _mm512_shuffle_i32x4(rows[i], rows[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(rows[i], rows[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(rows[8 + i], rows[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(rows[8 + i], rows[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    rows[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    rows[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    rows[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

// Of an even and of an odd term's.
TEC_BFLOAT16 __m512i Words(__m256i even, __m256i odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

}  // namespace

bool HasBfloat16Kernels() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512bf16") && !__builtin_cpu_supports("amx-bf16");
  return has;
}

TEC_BFLOAT16 void PackByIndex(const uint16_t* source, int64_t stride, int64_t indices, int64_t terms, int64_t lanes,
                              int64_t group, uint32_t* packed) {
  const __mmask16 written = static_cast<__mmask16>(Bits(lanes));
  for (int64_t term = 0; term < terms; term += 2 * kLanes) {
    const __mmask32 there = Bits(terms - term);
    __m512i rows[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      rows[i] = i < indices ? _mm512_maskz_loadu_epi16(there, source + i * stride + term) : _mm512_setzero_si512();
    }
    Transpose(rows);
    const int64_t pairs = (terms - term + 1) / 2;
    uint32_t* out = packed + term / 2 * group;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i < pairs) _mm512_mask_storeu_epi32(out + i * group, written, rows[i]);
    }
  }
}

TEC_BFLOAT16 void PackByTerm(const uint16_t* source, int64_t stride, int64_t indices, int64_t terms, int64_t group,
                             uint32_t* packed) {
  const __mmask32 there = Bits(indices);
  const auto low = static_cast<__mmask16>(Bits(group)), high = static_cast<__mmask16>(Bits(group - kLanes));
  for (int64_t term = 0; term < terms; term += 2, packed += group) {
    const uint16_t* row = source + term * stride;
    const __m512i even = _mm512_maskz_loadu_epi16(there, row);
    const __m512i odd = term + 1 < terms ? _mm512_maskz_loadu_epi16(there, row + stride) : _mm512_setzero_si512();
    _mm512_mask_storeu_epi32(packed, low, Words(_mm512_castsi512_si256(even), _mm512_castsi512_si256(odd)));
    if (high == 0) continue;
    const __m256i a = _mm512_extracti64x4_epi64(even, 1), b = _mm512_extracti64x4_epi64(odd, 1);
    _mm512_mask_storeu_epi32(packed + kLanes, high, Words(a, b));
  }
}

TEC_BFLOAT16 void MultiplyTile(const Bfloat16Tile& tile) {
  constexpr int kRows = kStripRows;
  __m512 sums[kRows][2];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
  const uint32_t *strip = tile.strip, *panel = tile.panel;
  for (int64_t pair = 0; pair < tile.pairs; ++pair, strip += kStripRows, panel += kPanelColumns) {
    const auto left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel));
    const auto right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + kLanes));
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const auto row = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(strip[i])));
      sums[i][0] = _mm512_dpbf16_ps(sums[i][0], row, left);
      sums[i][1] = _mm512_dpbf16_ps(sums[i][1], row, right);
    }
  }
  if (!tile.first) {
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const float* partial = tile.partial + i * kPanelColumns;
      sums[i][0] = _mm512_add_ps(sums[i][0], _mm512_loadu_ps(partial));
      sums[i][1] = _mm512_add_ps(sums[i][1], _mm512_loadu_ps(partial + kLanes));
    }
  }
  if (!tile.last) {
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      float* partial = tile.partial + i * kPanelColumns;
      _mm512_storeu_ps(partial, sums[i][0]);
      _mm512_storeu_ps(partial + kLanes, sums[i][1]);
    }
    return;
  }
  const uint32_t columns = Bits(tile.columns);
  const auto first = static_cast<__mmask16>(columns), second = static_cast<__mmask16>(columns >> 16);
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    if (i >= tile.rows) break;
    if (tile.floats == nullptr) {
      uint16_t* out = tile.shorts + i * tile.stride;
      const auto shorts = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(sums[i][1], sums[i][0]));
      _mm512_mask_storeu_epi16(out, columns, shorts);
      continue;
    }
    float* out = tile.floats + i * tile.stride;
    if (tile.aligned && tile.columns == kPanelColumns) {
      _mm512_stream_ps(out, sums[i][0]);
      _mm512_stream_ps(out + kLanes, sums[i][1]);
    } else {
      _mm512_mask_storeu_ps(out, first, sums[i][0]);
      _mm512_mask_storeu_ps(out + kLanes, second, sums[i][1]);
    }
  }
}

void FinishTiles() { _mm_sfence(); }

}  // namespace tec
