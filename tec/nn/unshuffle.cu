// The CUDA half of unshuffle_kernels.h. blockIdx.z: the sequence; blockIdx.y: a piece of the columns; blockIdx.x,
// strided: tokens of all images. A thread has the same columns of every row.

#include "tec/nn/device_rows.h"
#include "tec/nn/unshuffle_kernels.h"

namespace tec {
namespace {

template <typename A, typename X, int V>
__global__ void ForwardKernel(UnshuffleForward a) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= a.width) return;
  const int64_t tokens = 1 + a.patches, m = blockIdx.z;
  A mask_token[V];
  Load<V>(static_cast<const A*>(a.mask_token[m]) + c, mask_token);
  for (int64_t i = blockIdx.x; i < a.images * tokens; i += gridDim.x) {
    const int64_t n = i / tokens, t = i - n * tokens, row = t == 0 ? 0 : 1 + a.restore[n * a.patches + t - 1];
    A value[V], positions[V];
    Load<V>(static_cast<const A*>(a.positions) + t * a.width + c, positions);
    if (row <= a.visible) {
      Load<V>(static_cast<const X*>(a.x[m]) + (n * (1 + a.visible) + row) * a.width + c, value);
    } else {
#pragma unroll
      for (int k = 0; k < V; ++k) value[k] = mask_token[k];
    }
#pragma unroll
    for (int k = 0; k < V; ++k) value[k] += positions[k];
    Store<V>(value, static_cast<A*>(a.out) + (m * a.images * tokens + i) * a.width + c);
  }
}

template <typename A, typename X, int V>
__global__ void BackwardKernel(UnshuffleBackward a) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (c >= a.width) return;
  const int64_t tokens = 1 + a.patches, m = blockIdx.z;
  A sums[V] = {};
  for (int64_t i = blockIdx.x; i < a.images * tokens; i += gridDim.x) {
    const int64_t n = i / tokens, t = i - n * tokens, row = t == 0 ? 0 : 1 + a.restore[n * a.patches + t - 1];
    A d[V];
    Load<V>(static_cast<const A*>(a.d_out) + (m * a.images * tokens + i) * a.width + c, d);
    if (row <= a.visible) {
      Store<V>(d, static_cast<X*>(a.d_x[m]) + (n * (1 + a.visible) + row) * a.width + c);
    } else {
#pragma unroll
      for (int k = 0; k < V; ++k) sums[k] += d[k];
    }
  }
  Store<V>(sums, static_cast<A*>(a.scratch) + (blockIdx.x * a.sequences + m) * a.width + c);
}

template <typename F>
bool Dispatch(Element type, Element x, const F& f) {
  if (type == Element::kDouble && x == type) {
    f(double(), double());
  } else if (type != Element::kFloat || x == Element::kDouble) {
    return false;
  } else if (x == Element::kFloat) {
    f(float(), float());
  } else if (x == Element::kBFloat16) {
    f(float(), __nv_bfloat16());
  } else {
    f(float(), __half());
  }
  return true;
}

dim3 BlocksFor(int64_t rows, int64_t width, int threads, int vector, int64_t sequences) {
  const int64_t columns = static_cast<int64_t>(threads) * vector;
  return dim3(static_cast<unsigned>(std::min<int64_t>(rows, kCudaColumnParts)),
              static_cast<unsigned>((width + columns - 1) / columns), static_cast<unsigned>(sequences));
}

constexpr char kNoKernel[] = "no kernel for tokens of these types";

}  // namespace

const char* LaunchUnshuffle(const UnshuffleForward& a, void* stream) {
  if (a.images == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  bool aligned = IsAligned(a.positions, a.width) && IsAligned(a.out, a.width);
  for (int64_t m = 0; m < a.sequences; ++m) {
    aligned = aligned && IsAligned(a.x[m], a.width) && IsAligned(a.mask_token[m], a.width);
  }
  const bool found = Dispatch(a.type, a.x_type, [&](auto type, auto x) {
    const int vector = aligned ? kVector : 1, threads = ThreadsFor(a.width, vector);
    const auto kernel =
        aligned ? ForwardKernel<decltype(type), decltype(x), kVector> : ForwardKernel<decltype(type), decltype(x), 1>;
    const dim3 blocks = BlocksFor(a.images * (1 + a.patches), a.width, threads, vector, a.sequences);
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  return found ? LastError() : kNoKernel;
}

const char* LaunchUnshuffleBackward(const UnshuffleBackward& a, void* stream) {
  if (a.images == 0) return nullptr;
  const auto on = static_cast<cudaStream_t>(stream);
  bool aligned = IsAligned(a.d_out, a.width) && IsAligned(a.scratch, a.width);
  for (int64_t m = 0; m < a.sequences; ++m) aligned = aligned && IsAligned(a.d_x[m], a.width);
  const bool found = Dispatch(a.type, a.x_type, [&](auto type, auto x) {
    using A = decltype(type);
    const int vector = aligned ? kVector : 1, threads = ThreadsFor(a.width, vector);
    const auto kernel = aligned ? BackwardKernel<A, decltype(x), kVector> : BackwardKernel<A, decltype(x), 1>;
    const dim3 blocks = BlocksFor(a.images * (1 + a.patches), a.width, threads, vector, a.sequences);
    kernel<<<blocks, threads, 0, on>>>(a);
    const int64_t size = a.sequences * a.width;
    SumParts<A>(a.scratch, blocks.x, size, 0, size, a.columns, on);
  });
  return found ? LastError() : kNoKernel;
}

}  // namespace tec
