// Compiled once for each of x86's instruction sets (Highway's foreach_target): the vectors' lengths are constants here.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tec/nn/attention_weights_kernels.h"
#include "tec/nn/bfloat16_bits.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tec/nn/attention_weights_cpu.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tec {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using D32 = hn::RebindToSigned<D>;
using D16 = hn::Rebind<uint16_t, D>;
using V = hn::Vec<D>;

constexpr int64_t kBlock = 16;
constexpr int64_t kLanes = hn::MaxLanes(D());
constexpr uint16_t kNan = 0x7fc0;

HWY_INLINE V LoadLow(const uint16_t* from) {
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(D32(), hn::LoadU(D16(), from))));
}

// To the nearest, of two equally near the even one. A NaN may become a number if all of its low bits are set, which no
// operation does by itself.
HWY_INLINE void StoreLow(V v, uint16_t* to) {
  const D32 d32;
  const hn::RebindToUnsigned<D32> du32;
  const auto bits = hn::BitCast(du32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du32, 0x7fff)), odd));
  hn::StoreU(hn::DemoteTo(D16(), hn::BitCast(d32, rounded)), D16(), to);
}

// exp of x <= 0 with a relative error below 2e-7; below -87, where float32 ends, 0. NaN of NaN.
//
// x = n ln 2 + r, |r| <= ln(2) / 2: ln 2 in two parts, of which n times the first is exact, and Cephes' polynomial for
// (exp(r) - 1 - r) / r^2. n is rounded by adding 1.5 * 2^23, which leaves it in the low bits.
HWY_INLINE V Exp(V x) {
  const D d;
  const D32 d32;
  const V magic = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), magic);
  const V n = hn::Sub(shifted, magic);
  const V r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x));
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(d32, shifted)), hn::Set(d32, 127 << 23));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.0f)), hn::Mul(p, hn::BitCast(d, power)));
}

// Room for a row in whole blocks that begin where a cache line does.
class Row {
 public:
  explicit Row(int64_t keys) : values_((keys + 2 * kBlock - 1) / kBlock * kBlock) {
    const uintptr_t from = reinterpret_cast<uintptr_t>(values_.data()), line = kBlock * sizeof(float);
    data_ = reinterpret_cast<float*>((from + line - 1) / line * line);
  }
  float* data() { return data_; }
  // What lies beyond the row.
  void FillRest(int64_t keys, float value) {
    std::fill(data_ + keys, data_ + (keys + kBlock - 1) / kBlock * kBlock, value);
  }

 private:
  std::vector<float> values_;
  float* data_;
};

// Calls body(i) for blocks of 16 that cover `keys` >= 16 of them and end with the last: the last two may overlap.
template <typename F>
HWY_INLINE void ForCoveringBlocks(int64_t keys, const F& body) {
  for (int64_t i = 0; i + kBlock < keys; i += kBlock) body(i);
  body(keys - kBlock);
}

// The 16 parts of a sum, added up in halves.
HWY_INLINE float Total(float* parts) {
  for (int64_t half = kBlock / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) parts[i] += parts[i + half];
  }
  return parts[0];
}

// x = logits * scale + bias of `keys` >= 16 into `row`, and the largest.
template <bool kWithBias>
HWY_INLINE float Arguments(const uint16_t* logits, float scale, const float* bias, int64_t keys, float* row) {
  const D d;
  const V factor = hn::Set(d, scale);
  V largest[kBlock / kLanes];
  for (V& part : largest) part = hn::Set(d, -std::numeric_limits<float>::infinity());
  ForCoveringBlocks(keys, [&](int64_t i) HWY_ATTR {
    for (int64_t j = 0; j < kBlock; j += kLanes) {
      V x = LoadLow(logits + i + j);
      if (kWithBias) {
        x = hn::MulAdd(x, factor, hn::LoadU(d, bias + i + j));
      } else {
        x = hn::Mul(x, factor);
      }
      hn::StoreU(x, d, row + i + j);
      largest[j / kLanes] = hn::Max(largest[j / kLanes], x);
    }
  });
  V all = largest[0];
  for (const V& part : largest) all = hn::Max(all, part);
  return hn::GetLane(hn::MaxOfLanes(d, all));
}

// The same of fewer than 16.
HWY_INLINE float FewArguments(const uint16_t* logits, float scale, const float* bias, int64_t keys, float* row) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < keys; ++i) {
    const float logit = FloatOfBits(logits[i]);
    row[i] = bias == nullptr ? logit * scale : std::fma(logit, scale, bias[i]);
    largest = std::max(largest, row[i]);
  }
  return largest;
}

HWY_INLINE float ArgumentsOf(const AttentionRows& a, int64_t r, float* row) {
  const uint16_t* logits = a.logits + r * a.keys;
  const float* bias = a.bias == nullptr ? nullptr : a.bias + r % a.bias_rows * a.keys;
  if (a.keys < kBlock) return FewArguments(logits, a.scale, bias, a.keys, row);
  if (bias == nullptr) return Arguments<false>(logits, a.scale, bias, a.keys, row);
  return Arguments<true>(logits, a.scale, bias, a.keys, row);
}

// row's first `keys` values to bfloat16, times `factor`.
HWY_INLINE void StoreRow(const float* row, int64_t keys, float factor, uint16_t* to) {
  const D d;
  const V by = hn::Set(d, factor);
  const auto store = [&](int64_t i, uint16_t* at) HWY_ATTR {
    for (int64_t j = 0; j < kBlock; j += kLanes) StoreLow(hn::Mul(hn::LoadU(d, row + i + j), by), at + j);
  };
  if (keys >= kBlock) {
    ForCoveringBlocks(keys, [&](int64_t i) HWY_ATTR { store(i, to + i); });
    return;
  }
  uint16_t few[kBlock];
  store(0, few);
  std::memcpy(to, few, sizeof(uint16_t) * keys);
}

void Forward(const AttentionRows& a, int64_t begin, int64_t end, uint16_t* weights) {
  const D d;
  Row arguments(a.keys), exponentials(a.keys);
  arguments.FillRest(a.keys, -std::numeric_limits<float>::infinity());
  float *x = arguments.data(), *e = exponentials.data();
  for (int64_t r = begin; r < end; ++r) {
    const float largest = ArgumentsOf(a, r, x);
    const V shift = hn::Set(d, largest);
    V sums[kBlock / kLanes];
    for (V& part : sums) part = hn::Zero(d);
    for (int64_t i = 0; i < a.keys; i += kBlock) {
      for (int64_t j = 0; j < kBlock; j += kLanes) {
        const V value = Exp(hn::Sub(hn::Load(d, x + i + j), shift));
        hn::Store(value, d, e + i + j);
        sums[j / kLanes] = hn::Add(sums[j / kLanes], value);
      }
    }
    HWY_ALIGN float parts[kBlock];
    for (int64_t j = 0; j < kBlock; j += kLanes) hn::Store(sums[j / kLanes], d, parts + j);
    const float sum = Total(parts), inverse = 1 / sum;
    if (a.range != nullptr) {
      a.range[2 * r] = largest;
      a.range[2 * r + 1] = inverse;
    }
    if (std::isnan(sum)) {
      std::fill_n(weights + r * a.keys, a.keys, kNan);
    } else {
      StoreRow(e, a.keys, inverse, weights + r * a.keys);
    }
  }
}

void Backward(const AttentionRows& a, int64_t begin, int64_t end, int64_t step, const uint16_t* d_weights,
              uint16_t* d_logits, float* d_bias) {
  const D d;
  Row arguments(a.keys), gradients(a.keys), products(a.keys), sums(a.keys);
  arguments.FillRest(a.keys, -std::numeric_limits<float>::infinity());
  gradients.FillRest(a.keys, 0);
  float *x = arguments.data(), *g = gradients.data(), *p = products.data(), *sum = sums.data();
  for (int64_t r = begin; r < end; r += step) {
    ArgumentsOf(a, r, x);
    const uint16_t* d_row = d_weights + r * a.keys;
    if (a.keys >= kBlock) {
      ForCoveringBlocks(a.keys, [&](int64_t i) HWY_ATTR {
        for (int64_t j = 0; j < kBlock; j += kLanes) hn::StoreU(LoadLow(d_row + i + j), d, g + i + j);
      });
    } else {
      uint16_t few[kBlock] = {};
      std::memcpy(few, d_row, sizeof(uint16_t) * a.keys);
      for (int64_t j = 0; j < kBlock; j += kLanes) hn::StoreU(LoadLow(few + j), d, g + j);
    }
    const V shift = hn::Set(d, a.range[2 * r]), inverse = hn::Set(d, a.range[2 * r + 1]);
    V dots[kBlock / kLanes];
    for (V& part : dots) part = hn::Zero(d);
    for (int64_t i = 0; i < a.keys; i += kBlock) {
      for (int64_t j = 0; j < kBlock; j += kLanes) {
        const V value = hn::Mul(Exp(hn::Sub(hn::Load(d, x + i + j), shift)), inverse);
        hn::Store(value, d, p + i + j);
        dots[j / kLanes] = hn::MulAdd(value, hn::Load(d, g + i + j), dots[j / kLanes]);
      }
    }
    HWY_ALIGN float parts[kBlock];
    for (int64_t j = 0; j < kBlock; j += kLanes) hn::Store(dots[j / kLanes], d, parts + j);
    const float dot = Total(parts);
    for (int64_t i = 0; i < a.keys; i += kLanes) {
      const V value = hn::Mul(hn::Load(d, p + i), hn::Sub(hn::Load(d, g + i), hn::Set(d, dot)));
      hn::Store(value, d, p + i);
      if (d_bias != nullptr) hn::Store(hn::Add(hn::Load(d, sum + i), value), d, sum + i);
    }
    if (std::isnan(dot)) {
      std::fill_n(d_logits + r * a.keys, a.keys, kNan);
    } else {
      StoreRow(p, a.keys, a.scale, d_logits + r * a.keys);
    }
  }
  if (d_bias != nullptr) std::copy_n(sum, a.keys, d_bias);
}

}  // namespace HWY_NAMESPACE
}  // namespace tec
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tec {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void AttentionWeightRows(const AttentionRows& a, int64_t begin, int64_t end, uint16_t* weights) {
  HWY_DYNAMIC_DISPATCH(Forward)(a, begin, end, weights);
}

void AttentionWeightRowsBackward(const AttentionRows& a, int64_t begin, int64_t end, int64_t step,
                                 const uint16_t* d_weights, uint16_t* d_logits, float* d_bias) {
  HWY_DYNAMIC_DISPATCH(Backward)(a, begin, end, step, d_weights, d_logits, d_bias);
}

std::vector<int64_t> AttentionWeightTargets() {
  std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  // Compiled because Highway's baseline is below the compiler's, and never taken where that is.
  const auto without_fma = [](int64_t target) { return target == HWY_SSE4 || target == HWY_SSSE3; };
  targets.erase(std::remove_if(targets.begin(), targets.end(), without_fma), targets.end());
  return targets;
}

void UseAttentionWeightTargetForTest(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace tec
#endif  // HWY_ONCE
