// The CPU half of token_rows_kernels.h.

#include <algorithm>

#include "tec/base/logging.h"
#include "tec/nn/bfloat16_bits.h"
#include "tec/nn/parallel.h"
#include "tec/nn/token_rows_kernels.h"

namespace tec {
namespace {

template <typename A, typename X>
void Embed(const EmbedTokensArguments& a) {
  const int64_t width = a.width, head = a.token == nullptr ? 0 : 1;
  at::parallel_for(0, a.images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      A* out = static_cast<A*>(a.out) + n * (head + a.rows) * width;
      if (head == 1) std::copy_n(static_cast<const A*>(a.token), width, out);
      for (int64_t i = 0; i < a.rows; ++i) {
        const X* x = static_cast<const X*>(a.x) + (n * a.rows + i) * width;
        const int64_t place = 1 + (a.keep == nullptr ? i : a.keep[n * a.rows + i]);
        const A* positions = static_cast<const A*>(a.positions) + place * width;
        A* to = out + (head + i) * width;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) to[c] = ValueOf<A>(x[c]) + positions[c];
      }
    }
  });
}

template <typename A, typename B>
void Mean(const OutputMeanArguments& a) {
  const int64_t width = a.width, rows = a.tokens - a.first;
  const A count = static_cast<A>(a.x.count);
  at::parallel_for(0, a.images * rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = (i / rows * a.tokens + a.first + i % rows) * width;
      A* out = static_cast<A*>(a.out) + i * width;
      for (int64_t j = 0; j < a.x.count; ++j) {
        const A* x = static_cast<const A*>(a.x.at[j]) + from;
        if (j + 1 == a.x.count && a.branch != nullptr) {
          const B* branch = static_cast<const B*>(a.branch) + from;
#pragma omp simd
          for (int64_t c = 0; c < width; ++c) {
            const A last = x[c] + ValueOf<A>(branch[c]);
            out[c] = j == 0 ? last : out[c] + last;
          }
        } else {
#pragma omp simd
          for (int64_t c = 0; c < width; ++c) out[c] = j == 0 ? x[c] : out[c] + x[c];
        }
      }
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) out[c] /= count;
    }
  });
}

template <typename A, typename X>
void Pairs(const PairSumArguments& a) {
  at::parallel_for(0, a.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * a.width; i < end * a.width; i += a.width) {
      A* out = static_cast<A*>(a.out) + i;
      for (int64_t j = 0; j < a.x.count; ++j) {
        const X *x = static_cast<const X*>(a.x.at[j]) + i, *y = static_cast<const X*>(a.y.at[j]) + i;
#pragma omp simd
        for (int64_t c = 0; c < a.width; ++c) {
          const A pair = ValueOf<A>(x[c]) + ValueOf<A>(y[c]);
          out[c] = j == 0 ? pair : out[c] + pair;
        }
      }
    }
  });
}

// uint16_t is bfloat16.
template <typename F>
void Dispatch(Element type, Element low, const F& f) {
  if (type == Element::kDouble && low == type) return f(double(), double());
  if (type == Element::kFloat && low == type) return f(float(), float());
  TEC_CHECK(type == Element::kFloat && low == Element::kBFloat16) << "no kernel for tokens of these types";
  f(float(), uint16_t());
}

}  // namespace

void RunEmbedTokens(const EmbedTokensArguments& a) {
  Dispatch(a.type, a.x_type, [&](auto type, auto x) { Embed<decltype(type), decltype(x)>(a); });
}

void RunOutputMean(const OutputMeanArguments& a) {
  Dispatch(a.type, a.branch_type, [&](auto type, auto branch) { Mean<decltype(type), decltype(branch)>(a); });
}

void RunPairSum(const PairSumArguments& a) {
  Dispatch(a.type, a.x_type, [&](auto type, auto x) { Pairs<decltype(type), decltype(x)>(a); });
}

}  // namespace tec
