// The CUDA half of token_rows_kernels.h. blockIdx.y: a piece of the columns; blockIdx.x, strided: rows of the result.

#include "tec/nn/device_rows.h"
#include "tec/nn/token_rows_kernels.h"

namespace tec {
namespace {

template <typename A, typename X, int V>
__global__ void EmbedKernel(EmbedTokensArguments a) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= a.width) return;
  const int64_t head = a.token == nullptr ? 0 : 1, tokens = head + a.rows;
  for (int64_t row = blockIdx.x; row < a.images * tokens; row += gridDim.x) {
    const int64_t n = row / tokens, i = row - n * tokens - head;
    A value[V];
    if (i < 0) {
      Load<V>(static_cast<const A*>(a.token) + c, value);
    } else {
      A positions[V];
      const int64_t place = 1 + (a.keep == nullptr ? i : a.keep[n * a.rows + i]);
      Load<V>(static_cast<const X*>(a.x) + (n * a.rows + i) * a.width + c, value);
      Load<V>(static_cast<const A*>(a.positions) + place * a.width + c, positions);
#pragma unroll
      for (int k = 0; k < V; ++k) value[k] += positions[k];
    }
    Store<V>(value, static_cast<A*>(a.out) + row * a.width + c);
  }
}

template <typename A, typename B, int V>
__global__ void MeanKernel(OutputMeanArguments a) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= a.width) return;
  const int64_t rows = a.tokens - a.first;
  for (int64_t row = blockIdx.x; row < a.images * rows; row += gridDim.x) {
    const int64_t n = row / rows, from = (n * a.tokens + a.first + row - n * rows) * a.width + c;
    A sum[V] = {};
    for (int64_t j = 0; j < a.x.count; ++j) {
      A x[V];
      Load<V>(static_cast<const A*>(a.x.at[j]) + from, x);
      if (j + 1 == a.x.count && a.branch != nullptr) {
        A branch[V];
        Load<V>(static_cast<const B*>(a.branch) + from, branch);
#pragma unroll
        for (int k = 0; k < V; ++k) x[k] += branch[k];
      }
#pragma unroll
      for (int k = 0; k < V; ++k) sum[k] = j == 0 ? x[k] : sum[k] + x[k];
    }
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] = Quotient(sum[k], static_cast<A>(a.x.count));
    Store<V>(sum, static_cast<A*>(a.out) + row * a.width + c);
  }
}

template <typename A, typename X, int V>
__global__ void PairKernel(PairSumArguments a) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= a.width) return;
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const int64_t from = row * a.width + c;
    A sum[V] = {};
    for (int64_t j = 0; j < a.x.count; ++j) {
      A x[V], y[V];
      Load<V>(static_cast<const X*>(a.x.at[j]) + from, x);
      Load<V>(static_cast<const X*>(a.y.at[j]) + from, y);
#pragma unroll
      for (int k = 0; k < V; ++k) sum[k] = j == 0 ? x[k] + y[k] : sum[k] + (x[k] + y[k]);
    }
    Store<V>(sum, static_cast<A*>(a.out) + from);
  }
}

template <typename F>
bool Dispatch(Element type, Element low, const F& f) {
  if (type == Element::kDouble && low == type) {
    f(double(), double());
  } else if (type != Element::kFloat || low == Element::kDouble) {
    return false;
  } else if (low == Element::kFloat) {
    f(float(), float());
  } else if (low == Element::kBFloat16) {
    f(float(), __nv_bfloat16());
  } else {
    f(float(), __half());
  }
  return true;
}

dim3 BlocksFor(int64_t rows, int64_t width, int threads, int vector) {
  const int64_t columns = static_cast<int64_t>(threads) * vector;
  return dim3(static_cast<unsigned>(std::min<int64_t>(rows, 65535)),
              static_cast<unsigned>((width + columns - 1) / columns));
}

constexpr char kNoKernel[] = "no kernel for tokens of these types";

}  // namespace

const char* LaunchEmbedTokens(const EmbedTokensArguments& a, void* stream) {
  const int64_t rows = a.images * (a.rows + (a.token == nullptr ? 0 : 1));
  if (rows == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  const bool aligned = IsAligned(a.token, a.width) && IsAligned(a.x, a.width) && IsAligned(a.positions, a.width) &&
                       IsAligned(a.out, a.width);
  const bool found = Dispatch(a.type, a.x_type, [&](auto type, auto x) {
    const int vector = aligned ? kVector : 1, threads = ThreadsFor(a.width, vector);
    const auto kernel =
        aligned ? EmbedKernel<decltype(type), decltype(x), kVector> : EmbedKernel<decltype(type), decltype(x), 1>;
    kernel<<<BlocksFor(rows, a.width, threads, vector), threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  return found ? LastError() : kNoKernel;
}

const char* LaunchOutputMean(const OutputMeanArguments& a, void* stream) {
  const int64_t rows = a.images * (a.tokens - a.first);
  if (rows == 0) return nullptr;
  const bool aligned = IsAligned(a.x) && IsAligned(a.branch, a.width) && IsAligned(a.out, a.width);
  const bool found = Dispatch(a.type, a.branch_type, [&](auto type, auto branch) {
    const int vector = aligned ? kVector : 1, threads = ThreadsFor(a.width, vector);
    const auto kernel = aligned ? MeanKernel<decltype(type), decltype(branch), kVector>
                                : MeanKernel<decltype(type), decltype(branch), 1>;
    kernel<<<BlocksFor(rows, a.width, threads, vector), threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  return found ? LastError() : kNoKernel;
}

const char* LaunchPairSum(const PairSumArguments& a, void* stream) {
  if (a.rows == 0) return nullptr;
  const bool aligned = IsAligned(a.x) && IsAligned(a.y) && IsAligned(a.out, a.width);
  const bool found = Dispatch(a.type, a.x_type, [&](auto type, auto x) {
    const int vector = aligned ? kVector : 1, threads = ThreadsFor(a.width, vector);
    const auto kernel =
        aligned ? PairKernel<decltype(type), decltype(x), kVector> : PairKernel<decltype(type), decltype(x), 1>;
    kernel<<<BlocksFor(a.rows, a.width, threads, vector), threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  return found ? LastError() : kNoKernel;
}

}  // namespace tec
