// The CUDA half of column_sum_kernels.h. As in residual_norm.cu a thread has the same columns of every row of its
// block; sums are made in kCudaColumnParts parts, then over them.

#include "tec/nn/column_sum_kernels.h"
#include "tec/nn/device_rows.h"

namespace tec {
namespace {

// As LibTorch's gelu_backward.
__device__ inline float GeluSlope(float x) {
  constexpr float kDensity = 0.3989422804014327f, kRootHalf = 0.7071067811865476f;
  return 0.5f * (1 + erff(x * kRootHalf)) + x * kDensity * expf(-0.5f * x * x);
}
__device__ inline double GeluSlope(double x) {
  constexpr double kDensity = 0.3989422804014326779, kRootHalf = 0.7071067811865475244;
  return 0.5 * (1 + erf(x * kRootHalf)) + x * kDensity * exp(-0.5 * x * x);
}

// blockIdx.y: a piece of the columns, of blockDim.x * V; blockIdx.x, strided: rows.
template <typename A, typename T, int V>
__global__ void GeluBackwardKernel(GeluBackward a) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= a.width) return;
  A sums[V] = {};
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    A h[V], d[V];
    Load<V>(static_cast<const T*>(a.h) + row * a.width + c, h);
    Load<V>(static_cast<const T*>(a.d_out) + row * a.width + c, d);
#pragma unroll
    for (int k = 0; k < V; ++k) {
      d[k] *= GeluSlope(h[k]);
      sums[k] += d[k];
    }
    Store<V>(d, static_cast<T*>(a.d_h) + row * a.width + c);
  }
  if (a.scratch != nullptr) Store<V>(sums, static_cast<A*>(a.scratch) + blockIdx.x * a.width + c);
}

template <typename A, typename T, int V>
__global__ void JoinHeadsKernel(JoinHeads a) {
  const int64_t part_width = a.heads * a.head_width, width = 3 * part_width;
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= width) return;
  const int part = static_cast<int>(c / part_width);
  const int64_t h = (c - part * part_width) / a.head_width, i = c - part * part_width - h * a.head_width;
  const T* from = static_cast<const T*>(a.part[part]);
  A sums[V] = {};
  for (int64_t row = blockIdx.x; row < a.images * a.tokens; row += gridDim.x) {
    A x[V] = {};
    if (from != nullptr) {
      const int64_t n = row / a.tokens, t = row - n * a.tokens;
      Load<V>(from + n * a.image_stride[part] + h * a.head_stride[part] + t * a.token_stride[part] + i, x);
    }
#pragma unroll
    for (int k = 0; k < V; ++k) sums[k] += x[k];
    Store<V>(x, static_cast<T*>(a.d_x) + row * width + c);
  }
  if (a.scratch != nullptr) Store<V>(sums, static_cast<A*>(a.scratch) + blockIdx.x * width + c);
}

// Calls f with a sum of the wide type and a value of `type`.
template <typename F>
void Dispatch(Element type, const F& f) {
  switch (type) {
    case Element::kDouble:
      return f(double(), double());
    case Element::kFloat:
      return f(float(), float());
    case Element::kBFloat16:
      return f(float(), __nv_bfloat16());
    case Element::kHalf:
      return f(float(), __half());
  }
}

struct Grid {
  dim3 blocks;
  int threads;
};

Grid GridFor(int64_t rows, int64_t width, int vector) {
  Grid grid;
  grid.threads = ThreadsFor(width, vector);
  const int64_t columns = static_cast<int64_t>(grid.threads) * vector;
  grid.blocks = dim3(static_cast<unsigned>(std::min<int64_t>(rows, kCudaColumnParts)),
                     static_cast<unsigned>((width + columns - 1) / columns));
  return grid;
}

}  // namespace

const char* LaunchGeluBackward(const GeluBackward& a, void* stream) {
  if (a.rows == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  const auto on = static_cast<cudaStream_t>(stream);
  const bool aligned = IsAligned(a.h, a.width) && IsAligned(a.d_out, a.width) && IsAligned(a.d_h, a.width) &&
                       IsAligned(a.scratch, a.width);
  Dispatch(a.type, [&](auto wide, auto t) {
    using A = decltype(wide);
    const Grid grid = GridFor(a.rows, a.width, aligned ? kVector : 1);
    const auto kernel = aligned ? GeluBackwardKernel<A, decltype(t), kVector> : GeluBackwardKernel<A, decltype(t), 1>;
    kernel<<<grid.blocks, grid.threads, 0, on>>>(a);
    if (a.columns != nullptr) SumParts<A>(a.scratch, grid.blocks.x, a.width, 0, a.width, a.columns, on);
  });
  return LastError();
}

const char* LaunchJoinHeads(const JoinHeads& a, void* stream) {
  const int64_t rows = a.images * a.tokens, width = 3 * a.heads * a.head_width;
  if (rows == 0) return nullptr;
  const auto on = static_cast<cudaStream_t>(stream);
  bool aligned = a.head_width % kVector == 0 && IsAligned(a.d_x, width) && IsAligned(a.scratch, width);
  for (int i = 0; i < 3; ++i) {
    if (a.part[i] == nullptr) continue;
    aligned = aligned && IsAligned(a.part[i], kVector) && a.image_stride[i] % kVector == 0 &&
              a.head_stride[i] % kVector == 0 && a.token_stride[i] % kVector == 0;
  }
  Dispatch(a.type, [&](auto wide, auto t) {
    using A = decltype(wide);
    const Grid grid = GridFor(rows, width, aligned ? kVector : 1);
    const auto kernel = aligned ? JoinHeadsKernel<A, decltype(t), kVector> : JoinHeadsKernel<A, decltype(t), 1>;
    kernel<<<grid.blocks, grid.threads, 0, on>>>(a);
    if (a.columns != nullptr) SumParts<A>(a.scratch, grid.blocks.x, width, 0, width, a.columns, on);
  });
  return LastError();
}

}  // namespace tec
