// The CUDA half of residual_norm_kernels.h. Bound by memory: a block takes a row, each of its threads the same columns
// of every row, so that sums over rows need no atomic additions; they are made in kCudaColumnParts parts, each by one
// block, and then over the parts.

#include "tec/nn/device_rows.h"
#include "tec/nn/residual_norm_kernels.h"

namespace tec {
namespace {

// `cache`: whether a row fits into shared memory; else it is made again (from the caches).
template <typename X, typename B, typename O, int V>
__global__ void ForwardKernel(ResidualNormForward a, bool cache) {
  extern __shared__ __align__(sizeof(double) * kVector) char shared[];
  X* kept = reinterpret_cast<X*>(shared);
  const int64_t step = static_cast<int64_t>(blockDim.x) * V;
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const X f = a.scale == nullptr ? X(1) : static_cast<const X*>(a.scale)[row / a.rows_per_image];
    const auto make = [&](int64_t c, X* x) {
      Load<V>(At<X>(a.x, row, c), x);
      X branch[V];
      if (a.earlier != nullptr) {
        Load<V>(static_cast<const B*>(a.earlier) + row * a.width + c, branch);
#pragma unroll
        for (int k = 0; k < V; ++k) x[k] = x[k] + branch[k];
      }
      if (a.branch != nullptr) {
        Load<V>(static_cast<const B*>(a.branch) + row * a.width + c, branch);
#pragma unroll
        for (int k = 0; k < V; ++k) x[k] = x[k] + branch[k] * f;
      }
    };
    X total = 0;
    for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
      X x[V];
      make(c, x);
      if (a.sum != nullptr) Store<V>(x, static_cast<X*>(a.sum) + row * a.width + c);
#pragma unroll
      for (int k = 0; k < V; ++k) total += x[k];
      if (cache) Store<V>(x, kept + c);
    }
    if (a.weight == nullptr) continue;
    // A thread sees what it wrote itself.
    const auto value = [&](int64_t c, X* x) {
      if (cache) {
        Load<V>(kept + c, x);
      } else {
        make(c, x);
      }
    };
    const X mean = Quotient(BlockSum(total), static_cast<X>(a.width));
    X squares = 0;
    for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
      X x[V];
      value(c, x);
#pragma unroll
      for (int k = 0; k < V; ++k) squares += (x[k] - mean) * (x[k] - mean);
    }
    const X variance = Quotient(BlockSum(squares), static_cast<X>(a.width));
    const X rstd = Quotient(X(1), Root(variance + static_cast<X>(a.epsilon)));
    if (threadIdx.x == 0) {
      static_cast<X*>(a.mean)[row] = mean;
      static_cast<X*>(a.rstd)[row] = rstd;
    }
    for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
      X x[V], weight[V], bias[V];
      value(c, x);
      Load<V>(static_cast<const X*>(a.weight) + c, weight);
      Load<V>(static_cast<const X*>(a.bias) + c, bias);
#pragma unroll
      for (int k = 0; k < V; ++k) x[k] = (x[k] - mean) * rstd * weight[k] + bias[k];
      Store<V>(x, At<O>(a.normed, row, c));
    }
  }
}

// columns: this block's sums, in shared memory where they fit into it (`cache`), else in its part of the scratch.
template <typename X, typename B, typename O, int V>
__global__ void BackwardKernel(ResidualNormBackward a, bool cache) {
  extern __shared__ __align__(sizeof(double) * kVector) char shared[];
  const bool norm = a.weight != nullptr;
  const int64_t step = static_cast<int64_t>(blockDim.x) * V;
  X* part = static_cast<X*>(a.scratch) + blockIdx.x * 3 * a.width;
  X* columns = cache ? reinterpret_cast<X*>(shared) : part;
  const auto add = [&](int which, int64_t c, const X* x) {
    X sums[V];
    Load<V>(columns + which * a.width + c, sums);
#pragma unroll
    for (int k = 0; k < V; ++k) sums[k] += x[k];
    Store<V>(sums, columns + which * a.width + c);
  };
  if (a.weight_columns || a.branch_columns) {
    for (int which = 0; which < 3; ++which) {
      for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
        const X zero[V] = {};
        Store<V>(zero, columns + which * a.width + c);
      }
    }
  }
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    X mean = 0, rstd = 0, of_d = 0, of_product = 0;
    if (norm) {
      mean = static_cast<const X*>(a.mean)[row];
      rstd = static_cast<const X*>(a.rstd)[row];
      for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
        X x[V], dy[V], weight[V], product[V];
        Load<V>(At<X>(a.sum, row, c), x);
        Load<V>(At<O>(a.d_normed, row, c), dy);
        Load<V>(static_cast<const X*>(a.weight) + c, weight);
#pragma unroll
        for (int k = 0; k < V; ++k) {
          const X centred = (x[k] - mean) * rstd, d = dy[k] * weight[k];
          of_d += d;
          of_product += d * centred;
          product[k] = dy[k] * centred;
        }
        if (a.weight_columns) {
          add(0, c, product);
          add(1, c, dy);
        }
      }
      of_d = Quotient(BlockSum(of_d), static_cast<X>(a.width));
      of_product = Quotient(BlockSum(of_product), static_cast<X>(a.width));
    }
    const X f = a.scale == nullptr ? X(1) : static_cast<const X*>(a.scale)[row / a.rows_per_image];
    for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
      X d[V] = {};
      if (norm) {
        X x[V], dy[V], weight[V];
        Load<V>(At<X>(a.sum, row, c), x);
        Load<V>(At<O>(a.d_normed, row, c), dy);
        Load<V>(static_cast<const X*>(a.weight) + c, weight);
#pragma unroll
        for (int k = 0; k < V; ++k) {
          d[k] = (dy[k] * weight[k] - of_d - (x[k] - mean) * rstd * of_product) * rstd;
        }
      }
      if (a.d_sum != nullptr) {
        X d_sum[V];
        Load<V>(static_cast<const X*>(a.d_sum) + row * a.width + c, d_sum);
        if (a.d_more != nullptr) {
          X d_more[V];
          Load<V>(static_cast<const X*>(a.d_more) + row * a.width + c, d_more);
#pragma unroll
          for (int k = 0; k < V; ++k) d_sum[k] += d_more[k];
        }
#pragma unroll
        for (int k = 0; k < V; ++k) d[k] += d_sum[k];
      }
      if (a.d_x.count > 0) Store<V>(d, At<X>(a.d_x, row, c));
      if (a.scale != nullptr) {
#pragma unroll
        for (int k = 0; k < V; ++k) d[k] *= f;
      }
      if (a.d_branch != nullptr) Store<V>(d, static_cast<B*>(a.d_branch) + row * a.width + c);
      if (a.branch_columns) add(2, c, d);
    }
  }
  // Each thread's own columns.
  if (cache && (a.weight_columns || a.branch_columns)) {
    for (int which = 0; which < 3; ++which) {
      for (int64_t c = threadIdx.x * V; c < a.width; c += step) {
        X sums[V];
        Load<V>(columns + which * a.width + c, sums);
        Store<V>(sums, part + which * a.width + c);
      }
    }
  }
}

template <typename X, typename B, typename O, int V>
void Forward(const ResidualNormForward& a, cudaStream_t stream) {
  const int64_t shared = a.width * sizeof(X);
  const bool cache = shared <= kSharedBytes;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(a.rows, 65535));
  ForwardKernel<X, B, O, V><<<blocks, ThreadsFor(a.width, V), cache ? shared : 0, stream>>>(a, cache);
}

template <typename X, typename B, typename O, int V>
void Backward(const ResidualNormBackward& a, cudaStream_t stream) {
  const bool columns = a.weight_columns || a.branch_columns;
  const int64_t shared = columns ? 3 * a.width * sizeof(X) : 0;
  const bool cache = shared <= kSharedBytes;
  const int64_t blocks = std::min<int64_t>(a.rows, columns ? kCudaColumnParts : 65535);
  BackwardKernel<X, B, O, V>
      <<<static_cast<unsigned>(blocks), ThreadsFor(a.width, V), cache ? shared : 0, stream>>>(a, cache);
  if (!columns) return;
  SumParts<X>(a.scratch, blocks, 3 * a.width, a.weight_columns ? 0 : 2 * a.width,
              a.branch_columns ? 3 * a.width : 2 * a.width, a.columns, stream);
}

// Calls f with a value of each of the three types; false where there is no such kernel.
template <typename F>
bool Dispatch(Element type, Element branch, Element normed, const F& f) {
  if (type == Element::kDouble) {
    if (branch != type || normed != type) return false;
    f(double(), double(), double());
    return true;
  }
  if (type != Element::kFloat || branch == Element::kDouble || normed == Element::kDouble) return false;
  const Element low = branch == Element::kFloat ? normed : branch;
  const bool low_branch = branch != Element::kFloat, low_normed = normed != Element::kFloat;
  if (low_branch && low_normed && branch != normed) return false;
  const auto with = [&](auto type) {
    using Low = decltype(type);
    if (low_branch && low_normed) {
      f(float(), Low(), Low());
    } else if (low_branch) {
      f(float(), Low(), float());
    } else {
      f(float(), float(), Low());
    }
  };
  if (low == Element::kFloat) {
    f(float(), float(), float());
  } else if (low == Element::kBFloat16) {
    with(__nv_bfloat16());
  } else {
    with(__half());
  }
  return true;
}

constexpr char kNoKernel[] = "no kernel of the residual norm for these types";

}  // namespace

const char* LaunchResidualNormForward(const ResidualNormForward& a, void* stream) {
  if (a.rows == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  const bool aligned = a.width % kVector == 0 && IsAligned(a.x) && IsAligned(a.earlier, a.width) &&
                       IsAligned(a.branch, a.width) && IsAligned(a.sum, a.width) && IsAligned(a.weight, a.width) &&
                       IsAligned(a.bias, a.width) && IsAligned(a.normed);
  const bool found = Dispatch(a.type, a.branch_type, a.normed_type, [&](auto x, auto branch, auto normed) {
    const auto run = aligned ? Forward<decltype(x), decltype(branch), decltype(normed), kVector>
                             : Forward<decltype(x), decltype(branch), decltype(normed), 1>;
    run(a, static_cast<cudaStream_t>(stream));
  });
  return found ? LastError() : kNoKernel;
}

const char* LaunchResidualNormBackward(const ResidualNormBackward& a, void* stream) {
  if (a.rows == 0) return nullptr;
  const bool aligned = a.width % kVector == 0 && IsAligned(a.sum) && IsAligned(a.weight, a.width) &&
                       IsAligned(a.d_sum, a.width) && IsAligned(a.d_more, a.width) && IsAligned(a.d_normed) &&
                       IsAligned(a.d_x) && IsAligned(a.d_branch, a.width) && IsAligned(a.scratch, a.width);
  const bool found = Dispatch(a.type, a.branch_type, a.normed_type, [&](auto x, auto branch, auto normed) {
    const auto run = aligned ? Backward<decltype(x), decltype(branch), decltype(normed), kVector>
                             : Backward<decltype(x), decltype(branch), decltype(normed), 1>;
    run(a, static_cast<cudaStream_t>(stream));
  });
  return found ? LastError() : kNoKernel;
}

}  // namespace tec
