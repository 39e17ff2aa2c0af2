// The CPU half of unshuffle_kernels.h.

#include <algorithm>

#include "tec/base/logging.h"
#include "tec/nn/bfloat16_bits.h"
#include "tec/nn/parallel.h"
#include "tec/nn/unshuffle_kernels.h"

namespace tec {
namespace {

template <typename A, typename X>
void Forward(const UnshuffleForward& a) {
  const int64_t tokens = 1 + a.patches, width = a.width;
  at::parallel_for(0, a.sequences * a.images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t m = i / a.images, n = i % a.images;
      const X* x = static_cast<const X*>(a.x[m]) + n * (1 + a.visible) * width;
      const A* mask_token = static_cast<const A*>(a.mask_token[m]);
      for (int64_t t = 0; t < tokens; ++t) {
        const A* positions = static_cast<const A*>(a.positions) + t * width;
        A* out = static_cast<A*>(a.out) + (i * tokens + t) * width;
        const int64_t row = t == 0 ? 0 : 1 + a.restore[n * a.patches + t - 1];
        if (row <= a.visible) {
#pragma omp simd
          for (int64_t c = 0; c < width; ++c) out[c] = ValueOf<A>(x[row * width + c]) + positions[c];
        } else {
#pragma omp simd
          for (int64_t c = 0; c < width; ++c) out[c] = mask_token[c] + positions[c];
        }
      }
    }
  });
}

template <typename A, typename X>
void Backward(const UnshuffleBackward& a) {
  const int64_t tokens = 1 + a.patches, width = a.width, all = a.sequences * a.images;
  // A part is some images of some sequence.
  const int64_t parts = std::min(kCpuColumnParts, all), size = a.sequences * width;
  A* scratch = static_cast<A*>(a.scratch);
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      std::fill_n(scratch + part * size, size, A(0));
      for (int64_t i = part * all / parts; i < (part + 1) * all / parts; ++i) {
        const int64_t m = i / a.images, n = i % a.images;
        X* d_x = static_cast<X*>(a.d_x[m]) + n * (1 + a.visible) * width;
        A* sums = scratch + part * size + m * width;
        for (int64_t t = 0; t < tokens; ++t) {
          const A* d = static_cast<const A*>(a.d_out) + (i * tokens + t) * width;
          const int64_t row = t == 0 ? 0 : 1 + a.restore[n * a.patches + t - 1];
          if (row <= a.visible) {
#pragma omp simd
            for (int64_t c = 0; c < width; ++c) d_x[row * width + c] = RoundedTo<X>(d[c]);
          } else {
#pragma omp simd
            for (int64_t c = 0; c < width; ++c) sums[c] += d[c];
          }
        }
      }
    }
  });
  for (int64_t c = 0; c < size; ++c) {
    A sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += scratch[part * size + c];
    static_cast<A*>(a.columns)[c] = sum;
  }
}

// uint16_t is bfloat16.
template <typename F>
void Dispatch(Element type, Element x, const F& f) {
  if (type == Element::kDouble && x == type) return f(double(), double());
  if (type == Element::kFloat && x == type) return f(float(), float());
  TEC_CHECK(type == Element::kFloat && x == Element::kBFloat16) << "no kernel for tokens of these types";
  f(float(), uint16_t());
}

}  // namespace

void RunUnshuffle(const UnshuffleForward& a) {
  Dispatch(a.type, a.x_type, [&](auto type, auto x) { Forward<decltype(type), decltype(x)>(a); });
}

void RunUnshuffleBackward(const UnshuffleBackward& a) {
  Dispatch(a.type, a.x_type, [&](auto type, auto x) { Backward<decltype(type), decltype(x)>(a); });
}

}  // namespace tec
